"""Try one bug: plant it in a copy of the tree, run the tests that should notice first, then the others."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from tests.mutants.planting import Bug, planted

COPIED: Final = ("s6", "tasks", "web", "tests", "celeryconfig.py", "setup.cfg", "pyproject.toml")
#: What may notice a bug in the core, the likely and quick ones first. The simulation is short: 60 seeds.
REST: Final = (
    ("tests/unit/rules", "tests/unit/plan", "tests/unit/booking", "tests/unit/model"),
    ("tests/unit/engine", "tests/unit/recovery", "tests/unit/tasks", "tests/unit/listener"),
    ("tests/contract/test_state.py", "tests/unit/adapters", "tests/unit/treasury", "tests/unit/health"),
    ("tests/simulation/test_simulation.py",),
)
SEEDS: Final = "60"
LONGEST_S: Final = 240
"""A run that takes longer has been hung by the bug, which is one way to notice it."""


class Verdict(NamedTuple):
    """Whether the bug was noticed, by which tests, and after how long."""

    bug: Bug
    by: str
    seconds: float


class Workshop:
    """A copy of the tree for one worker."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source, target = root / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def unharmed(self) -> str:
        """Run everything as it is. Returns the first stage that fails, empty when none does."""
        return next((stage[0] for stage in REST if self._fails(stage)), "")

    def judge(self, bug: Bug) -> Verdict:
        """Plant a bug, see who notices, take it out."""
        began = monotonic()
        with self._planted(bug):
            first = mirrors(self.folder, bug.module)
            for stage in ((first,) if first else ()) + REST:
                if self._fails(stage):
                    return Verdict(bug, stage[0], monotonic() - began)
        return Verdict(bug, "", monotonic() - began)

    @contextmanager
    def _planted(self, bug: Bug) -> Iterator[None]:
        path = self.folder / bug.module
        source = path.read_text()
        try:
            _write(path, planted(source, bug))
            yield
        finally:
            _write(path, source)

    def _fails(self, stage: tuple[str, ...]) -> bool:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *stage]
        env = {**os.environ, "PYTHONPATH": str(self.folder), "S6_SIMULATION_SEEDS": SEEDS, "HYPOTHESIS_PROFILE": "ci"}
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as running:
            try:
                return running.wait(LONGEST_S) != 0
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                return True


def mirrors(root: Path, module: str) -> tuple[str, ...]:
    """The test files named after a module, the folder's own tests where there are none."""
    path = Path(module)
    folder = root / "tests/unit" / path.parent.relative_to("s6" if path.parts[0] == "s6" else ".")
    named = sorted(folder.glob(f"test_{path.stem}*.py"))
    return tuple(str(file.relative_to(root)) for file in named)


def _write(path: Path, source: str) -> None:
    """Put a module's text in place; its compiled form goes, since two texts of one second look the same to Python."""
    path.write_text(source)
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
