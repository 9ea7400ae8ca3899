"""The command line: quick, and one clear line for what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from s6 import cli
from tests.support.procs import BIN


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "s6", *words], env=env, capture_output=True, text=True, check=False)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for command in ("up", "listener", "paper", "replay", "doctor", "init-store", "prune", "version"):
        assert f"\n    {command}" in shown


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, s6.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for module in ("celery", "flask", "redis", "pydantic", "requests", "apsw"):
        assert f"'{module}'" not in shown


def test_version() -> None:
    assert run("version").stdout.startswith("s6 0.")


@pytest.mark.parametrize(
    ("words", "env", "line"),
    [
        (("nonsense",), {}, "s6: error: argument COMMAND: invalid choice: 'nonsense'"),
        (("doctor", "--what"), {}, "s6: error: unrecognized arguments: --what"),
        (("doctor",), {}, "s6: S6_S1_URL is not set; allowed is "),
        (("init-store",), {"S6_STORE_URL": "mysql://x"}, "s6: S6_STORE_URL='mysql://x' is not allowed; "),
        (("prune", "--older-than-days", "0"), {"S6_STORE_URL": "sqlite:////nowhere/s6.db"}, "s6: older_than_days is 0"),
        (("up", "--no-paper", "--data", "{tmp}"), {}, "s6: S6_S1_URL is not set; allowed is "),
        (("up", "--candles", "nowhere.csv", "--data", "{tmp}"), {}, "s6: --candles nowhere.csv: there is no such file"),
        (("up", "--no-paper", "--speed", "9", "--data", "{tmp}"), {}, "s6: --candles, --speed and --seed are for"),
        (("up", "--data", "{tmp}"), {"PORT": "many"}, "s6: PORT='many' is not allowed; allowed is a port"),
        (("up", "--data", "/dev/null/var"), {}, "s6: [Errno 20] Not a directory: '/dev/null/var'"),
    ],
)
def test_a_fault_is_one_line_and_exit_code_2(
    words: tuple[str, ...], env: dict[str, str], line: str, tmp_path: Path
) -> None:
    ended = run(*(word.format(tmp=tmp_path) for word in words), **env)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[-1].startswith(line)
    assert "Traceback" not in ended.stderr


def test_a_new_store_is_made_ready(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's6.db'}"
    assert run("init-store", S6_STORE_URL=url).stdout == "s6: the store is ready\n"
    ended = run("prune", S6_STORE_URL=url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("s6: deleted 0 of ")


def test_paper_and_replay_have_their_own_help() -> None:
    assert "--cancel-delay-ms" in run("paper", "--help").stdout
