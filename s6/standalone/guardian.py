"""Keeps child processes from outliving this one, even if SIGKILL ends it.

A small companion process leads a process group and waits at a pipe; children start in its group. When the pipe closes,
because its owner closed it or is gone, the companion ends the rest of the group, grandchildren included. Terminal
signals (Ctrl-C) reach neither the companion nor the children; the owner ends them in its own order.
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
    """Starts processes and ends them."""

    def __init__(self) -> None:
        # It runs isolated and without site packages: it needs none of them and starts quickly.
        command = [sys.executable, "-I", "-S", __file__]
        waiting, self._pipe = os.pipe()
        self._companion = subprocess.Popen(command, stdin=waiting, stdout=subprocess.DEVNULL, process_group=0)
        os.close(waiting)

    @property
    def alive(self) -> bool:
        return self._companion.poll() is None

    def popen(self, args: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start ``subprocess.Popen(args, **options)`` in the guarded group, without standard input."""
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(args, process_group=self._companion.pid, **options)

    def close(self) -> None:
        """End all remaining processes by SIGTERM, then by SIGKILL after ``GRACE_S``, and wait for that."""
        os.close(self._pipe)
        self._companion.wait()


_lock = threading.Lock()
_shared: dict[int, Guardian] = {}


def guardian() -> Guardian:
    """Return the guardian of this process. A forked child gets its own."""
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
    os.killpg(group, signal.SIGCONT)  # a stopped process would not handle SIGTERM
    while _others(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    if _others(group):
        os.killpg(group, signal.SIGKILL)


def _others(group: int) -> bool:
    """Return whether the group has other processes. Without /proc the answer is True."""
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
