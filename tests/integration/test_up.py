"""`s6 up`, as a user runs it: everything starts, what dies is started again, and nothing is ever left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import requests

from s6.standalone.free_ports import free_port
from tests.support.procs import BIN, Process
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Up(Process):
    """`s6 up` on a data folder, its web process on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "var"
        self.port = free_port()
        (folder / "up.log").unlink(missing_ok=True)
        env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        super().__init__("up", [str(BIN / "s6"), "up", "--data", str(self.data), "--port", str(self.port)], folder, env)
        self.group = 0

    def healthy(self) -> Up:
        """Wait for the box, which comes when ``/health`` is OK."""
        wait_for(self._box, 120, "the box", every=0.2)
        self.group = next(pid for pid, words in self.children().items() if "guardian.py" in words)
        return self

    def _box(self) -> bool:
        assert self.alive, self.output()
        assert "not well yet" not in self.output(), self.output()
        return "│ S6 is up" in self.output() and "└" in self.output()

    def children(self) -> dict[int, str]:
        """Process ids and command lines."""
        return {pid: words for pid, (parent, _, words) in _processes().items() if parent == self.pid}

    def left(self) -> dict[int, str]:
        """What lives of all that it ever started."""
        return {pid: words for pid, (_, group, words) in _processes().items() if group == self.group}


def _processes() -> dict[int, tuple[int, int, str]]:
    """Parent, process group and command line of every process that is no zombie."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                state, parent, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                words = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if state != "Z":
                found[int(entry.name)] = (int(parent), int(group), words)
    return found


def test_everything_runs_heals_and_ends(tmp_path: Path) -> None:
    """In one test, so that no two of them reach for the default ports at the same moment."""
    up = Up(tmp_path)
    try:
        up.healthy()
        _serves(up)
        _refuses_a_second(up, tmp_path / "second")
        _heals(up)
        up.kill()
        wait_for(lambda: not up.left(), 15, "the end of all that a killed `s6 up` left")

        again = up = Up(tmp_path)
        again.healthy()
        _serves(again)
        assert again.stop(within_s=10) == 0
        assert "nothing is left running" in again.output()
        wait_for(lambda: not again.left(), 2, "the end of all")
    finally:
        up.kill()


def _serves(up: Up) -> None:
    base = f"http://127.0.0.1:{up.port}"
    token = (up.data / "token").read_text()  # the same at each start
    assert token in up.output()
    assert requests.get(f"{base}/positions", headers={"Authorization": f"Bearer {token}"}, timeout=5).ok
    assert requests.get(f"{base}/positions", timeout=5).status_code == 401
    for words in ("s6 web", "celery -A tasks worker", "celery -A tasks beat", "s6 listener", "flower", "paper"):
        assert any(words in child for child in up.children().values()), words


def _heals(up: Up) -> None:
    worker = next(pid for pid, words in up.children().items() if "tasks worker" in words)
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: "worker ended (signal 9); starting it again in" in up.output(), what="the news")
    wait_for(lambda: any("tasks worker" in words for words in up.children().values()), 40, "another worker")


def _refuses_a_second(up: Up, folder: Path) -> None:
    folder.mkdir()
    second = Process("second", [str(BIN / "s6"), "up", "--data", str(up.data)], folder, {"PATH": ""})
    assert second.popen.wait(60) == 2
    assert f"s6: another Redis server is using {up.data}/redis" in second.output()
    assert "Traceback" not in second.output()
