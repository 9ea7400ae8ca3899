"""Runs child processes with their output on one screen, and restarts with growing pauses those that end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from s6.standalone.guardian import guardian

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
#: A process that ran this long restarts after the first pause again.
STEADY_S: Final = 30.0
COLOURS: Final = (36, 33, 32, 35, 34, 96, 93, 92)


def process_types(procfile: Path) -> dict[str, str]:
    """Return the process types of a Procfile with their command lines."""
    lines = (re.match(r"([A-Za-z0-9_-]+):\s*(.+)", line) for line in procfile.read_text().splitlines())
    return {line[1]: line[2].strip() for line in lines if line}


class Printer:
    """Prints whole lines with their origin, coloured on a terminal. Threads may share it."""

    def __init__(self, on_broken_pipe: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._colours: dict[str, int] = {"s6": 1}
        self._coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._on_broken_pipe = on_broken_pipe

    def say(self, text: str) -> None:
        self.line("s6", text)

    def line(self, origin: str, text: str) -> None:
        prefix = f"{origin:<9}| "
        if self._coloured:
            colour = self._colours.setdefault(origin, COLOURS[len(self._colours) % len(COLOURS)])
            prefix = f"\033[{colour}m{prefix}\033[0m"
        self._write(f"{prefix}{text}\n")

    def box(self, lines: Sequence[str]) -> None:
        width = max(map(len, lines))
        body = "".join(f"│ {line:<{width}} │\n" for line in lines)
        self._write(f"┌{'─' * (width + 2)}┐\n{body}└{'─' * (width + 2)}┘\n")

    def _write(self, text: str) -> None:
        with self._lock:
            try:
                sys.stdout.write(text)
                sys.stdout.flush()
            except (BrokenPipeError, ValueError):
                self._on_broken_pipe()
            except UnicodeEncodeError:
                sys.stdout.write(text.encode("ascii", "replace").decode())


class Supervised:
    """One child process, which runs until ``terminate`` or ``kill``."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        printer: Printer,
    ) -> None:
        self.name = name
        self._command, self._cwd, self._printer = command, cwd, printer
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._started = 0.0
        self._pause = FIRST_PAUSE_S
        self._due: float | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._wanted, self._due, self._started = True, None, time.monotonic()
        self._process = guardian().popen(
            self._command, cwd=self._cwd, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        threading.Thread(target=self._copy, args=(self._process,), daemon=True).start()

    def revive(self) -> None:
        """Restart the process if it has ended and its pause is over. The caller calls this regularly."""
        if not self._wanted or self._process is None or self._process.poll() is None:
            return
        if self._due is None:
            if time.monotonic() - self._started > STEADY_S:
                self._pause = FIRST_PAUSE_S
            self._due = time.monotonic() + self._pause
            self._printer.say(f"{self.name} ended ({_fate(self._process)}); starting it again in {self._pause:g} s")
            self._pause = min(self._pause * 2, LONGEST_PAUSE_S)
        elif time.monotonic() >= self._due:
            self.start()

    def terminate(self) -> None:
        """Ask the process to end, and do not restart it."""
        self._wanted = False
        if self._process is not None and self.alive:
            self._process.terminate()

    def kill(self) -> bool:
        """Kill the process if it still runs. Returns whether it did."""
        self._wanted = False
        if self._process is None or not self.alive:
            return False
        self._process.kill()
        self._process.wait()
        return True

    def _copy(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                self._printer.line(self.name, line.decode(errors="replace").rstrip())


def _fate(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"signal {-code}" if code < 0 else f"exit code {code}"
