"""`make install`: bytecode for all that runs, an environment that fits its folder, and names with quotes in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import cache_from_source, find_spec
from pathlib import Path

import pytest

from tests.support.procs import ROOT

READY = Path(sys.prefix) / ".ready"

#: Stands in for Python: notes how it is called, and makes environments of itself.
PYTHON = """#!/bin/sh
echo "$0 $*" >> "$CALLS"
if [ "$1 $2 $3" = "-m venv --clear" ]; then
    rm -rf "$4"
    mkdir -p "$4/bin" && cp "$0" "$4/bin/python"
    printf '#!/bin/sh\\nfor word; do echo "<$word>"; done\\n' > "$4/bin/s6" && chmod +x "$4/bin/s6"
fi
"""


def sources(package: str) -> list[Path]:
    spec = find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    return [file for folder in spec.submodule_search_locations for file in Path(folder).rglob("*.py")]


@pytest.mark.skipif(not READY.exists(), reason="this environment was not made by `make install`")
@pytest.mark.parametrize("package", ["s6", "tasks", "web", "celery"])
def test_every_module_was_compiled_at_the_install(package: str) -> None:
    """What was edited since is Python's own business."""
    installed = READY.stat().st_mtime
    there = [file for file in sources(package) if file.stat().st_mtime < installed]
    assert [file for file in there if not Path(cache_from_source(str(file))).exists()] == []


class Folder:
    """A copy of the Makefile in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        for name in ("Makefile", "setup.cfg", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, path)
        self.python = path.parent / "a python's stand-in"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)

    def make(self, *words: str) -> str:
        """Run make; returns what it printed."""
        env = {"PATH": os.environ["PATH"], "CALLS": str(self.path.parent / "calls")}
        command = ["make", *words, f"PYTHON={self.python}"]
        return subprocess.run(command, cwd=self.path, env=env, check=True, capture_output=True, text=True).stdout

    def environments_made(self) -> int:
        """How often an environment was made since the last time this was asked."""
        calls = self.path.parent / "calls"
        found = calls.read_text().count(" -m venv ") if calls.exists() else 0
        calls.unlink(missing_ok=True)
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    return Folder(tmp_path / "it's a folder")


def test_an_environment_is_made_once(folder: Folder) -> None:
    folder.make("install")
    assert folder.environments_made() == 1
    folder.make("install")
    assert folder.environments_made() == 0


def test_new_requirements_are_installed_into_the_environment_there_is(folder: Folder) -> None:
    folder.make("install")
    (folder.path / "setup.cfg").touch()
    os.utime(folder.path / ".venv/.ready", (1, 1))
    folder.make("install")
    assert "pip install" in (folder.path.parent / "calls").read_text()
    assert folder.environments_made() == 1


def test_a_moved_environment_is_made_anew(folder: Folder) -> None:
    folder.make("install")
    assert folder.environments_made() == 1
    folder.path = folder.path.rename(folder.path.parent / "elsewhere")
    folder.make("install")
    assert folder.environments_made() == 1
    assert (folder.path / ".venv/.ready").read_text() == f"{folder.path}\n"


def test_an_environment_without_its_interpreter_is_made_anew(folder: Folder) -> None:
    folder.make("install")
    assert folder.environments_made() == 1
    (folder.path / ".venv/bin/python").unlink()
    folder.make("install")
    assert folder.environments_made() == 1


def test_the_install_compiles_also_where_bytecode_is_not_to_be_written(folder: Folder) -> None:
    calls = folder.path.parent / "calls"
    folder.make("install")
    [line] = [line for line in calls.read_text().splitlines() if "compileall" in line]
    assert line.split(" -m compileall ")[1].split()[-5:] == [".venv/lib", "s6", "tasks", "web", "celeryconfig.py"]


def test_a_candle_file_s_name_may_hold_anything(folder: Folder) -> None:
    said = folder.make("run", 'CANDLES=my desk\'s "best".csv', "SPEED=5")
    assert said.splitlines()[-5:] == ["<up>", "<--candles>", '<my desk\'s "best".csv>', "<--speed>", "<5>"]
