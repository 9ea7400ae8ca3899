"""Child processes that don't outlive this one, even when it is killed with SIGKILL.

A small companion process leads a process group and waits at a pipe; the children are started into its group. When the
pipe closes, because its owner closed it or is gone, the companion ends whatever is left of the group, grandchildren
included. Terminal signals (Ctrl-C) reach neither it nor the children: their owner ends them in its own order.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

GRACE_S: Final = 8.0


class Guardian:
    """Starts processes, and sees to their end."""

    def __init__(self) -> None:
        # Isolated and without site packages: it needs nothing of them and starts quickly.
        command = [sys.executable, "-I", "-S", __file__]
        waiting, self._pipe = os.pipe()
        self._companion = subprocess.Popen(command, stdin=waiting, stdout=subprocess.DEVNULL, process_group=0)
        os.close(waiting)

    @property
    def alive(self) -> bool:
        return self._companion.poll() is None

    def popen(self, args: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """``subprocess.Popen(args, **options)`` within the guarded group, without standard input."""
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(args, process_group=self._companion.pid, **options)

    def close(self) -> None:
        """End every process still there: SIGTERM, SIGKILL after ``GRACE_S``; returns when that is done."""
        os.close(self._pipe)
        self._companion.wait()


_lock = threading.Lock()
_shared: dict[int, Guardian] = {}


def guardian() -> Guardian:
    """The guardian of this process; another one after a fork."""
    with _lock:
        found = _shared.get(os.getpid())
        if found is None or not found.alive:
            found = _shared[os.getpid()] = Guardian()
            atexit.register(_end, os.getpid())
        return found


def _end(owner: int) -> None:
    found = _shared.pop(owner, None) if owner == os.getpid() else None
    if found is not None and found.alive:
        found.close()


def _watch() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    group, deadline = os.getpgrp(), time.monotonic() + GRACE_S
    os.killpg(group, signal.SIGTERM)
    os.killpg(group, signal.SIGCONT)  # a stopped process would not hear of it
    while _others(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    if _others(group):
        os.killpg(group, signal.SIGKILL)


def _others(group: int) -> bool:
    """Whether anybody but us lives in the group; where there is no /proc to tell, it is supposed so."""
    if not Path("/proc/self/stat").exists():
        return True
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            state, _parent, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            return True
    return False


if __name__ == "__main__":
    _watch()
