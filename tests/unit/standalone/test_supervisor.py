"""Supervised children: their lines are shown, and who ends is started again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s6.standalone.supervisor import Printer, Supervised
from tests.support.procs import procfile
from tests.support.waiting import wait_for


def supervised(folder: Path, script: str) -> Supervised:
    printer = Printer(on_broken_pipe=lambda: None)
    environment = {"PATH": os.environ["PATH"], "RUNS": str(folder / "runs")}
    command = ["/bin/sh", "-c", f"echo run >> $RUNS; {script}"]
    return Supervised("child", command, cwd=folder, environment=environment, printer=printer)


def runs(folder: Path) -> int:
    kept = folder / "runs"
    return kept.read_text().count("run") if kept.exists() else 0


def test_who_ends_is_started_again_with_a_growing_pause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child = supervised(tmp_path, "echo hello; exit 3")
    child.start()

    def revived() -> bool:
        child.revive()
        return runs(tmp_path) >= 3

    wait_for(revived, 20, "two more runs")
    child.terminate()
    wait_for(lambda: not child.alive, what="its end")
    shown: list[str] = []

    def said() -> bool:
        shown.extend(capsys.readouterr().out.splitlines())
        return shown.count("child    | hello") >= 2

    wait_for(said, what="the children's lines")
    told = [line for line in shown if line.startswith("s6")]
    assert told[0] == "s6       | child ended (exit code 3); starting it again in 0.5 s"
    assert told[1] == "s6       | child ended (exit code 3); starting it again in 1 s"


def test_who_was_told_to_end_stays_ended(tmp_path: Path) -> None:
    child = supervised(tmp_path, "exec sleep 600")
    child.start()
    wait_for(lambda: runs(tmp_path) == 1, what="its start")
    child.terminate()
    wait_for(lambda: not child.alive, what="its end")
    child.revive()
    assert not child.alive
    assert child.kill() is False


def test_who_hears_no_sigterm_is_killed(tmp_path: Path) -> None:
    child = supervised(tmp_path, "trap '' TERM; echo run >> $RUNS; while :; do sleep 1; done")
    child.start()
    wait_for(lambda: runs(tmp_path) == 2, what="its start")
    child.terminate()
    assert child.alive
    assert child.kill() is True
    assert not child.alive


def test_the_procfile_names_every_process_type() -> None:
    assert {"web", "worker", "beat", "listener", "flower"} <= procfile().keys()
