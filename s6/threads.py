"""Loops in daemon threads. A loop has a thread and is none, so its names never clash with those of ``Thread``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

#: How long a round may take, unless its loop says otherwise.
LONGEST_S: Final = 30.0
#: A loop hangs when it has made no round for so many times the longest that a round may take.
PATIENCE: Final = 4
LOOK_S: Final = 1.0


class LoopThread:
    """Calls ``round`` again and again in a daemon thread until it is asked to stop, then ``close`` once.

    Parameters
    ----------
    name
        The thread's name, for the log.
    round
        One round of work. It returns the pause before the next round in seconds. What it raises ends the loop.
    close
        Gives back what the rounds hold. The loop's own thread calls it, after the last round.
    longest_s
        How long a round and its pause may take, in seconds.
    """

    def __init__(
        self,
        name: str,
        round: Callable[[], float],
        close: Callable[[], None] | None = None,
        *,
        longest_s: float = LONGEST_S,
    ) -> None:
        self.name = name
        self.longest_s = longest_s
        #: When the newest round ended, by ``time.monotonic()``; None before the first has.
        self.last_round: float | None = None
        self._round = round
        self._close = close
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin. Raises ``RuntimeError`` at the second call."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the loop to end: it does so after the round under way."""
        self._ending.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the loop's end, for ``timeout`` seconds at most."""
        self._thread.join(timeout)

    def is_alive(self) -> bool:
        """Return whether the loop has begun and not ended."""
        return self._thread.is_alive()

    def is_at_work(self) -> bool:
        """Return whether the loop is alive and ended a round within ``longest_s``; false before the first one ends."""
        return self.is_alive() and self.last_round is not None and time.monotonic() - self.last_round < self.longest_s

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                pause_s = self._round()
                self.last_round = time.monotonic()
                self._ending.wait(pause_s)
        finally:
            if self._close is not None:
                self._close()


def wait_for_trouble(loops: Sequence[LoopThread], ending: threading.Event, look_s: float = LOOK_S) -> list[str]:
    """Look at the loops every ``look_s`` seconds until ``ending`` is set, or a loop has ended or hangs.

    Silence is counted in looks, not by the clock: when the whole process stood still, no loop is to blame.

    Returns the names of the loops that ended or hang; empty when ``ending`` was set.
    """
    last: dict[str, float | None] = {}
    looks = dict.fromkeys((loop.name for loop in loops), 0)
    while not ending.wait(look_s):
        for loop in loops:
            silent = loop.name in last and last[loop.name] == loop.last_round
            looks[loop.name] = looks[loop.name] + 1 if silent else 0
            last[loop.name] = loop.last_round
        failed = [o.name for o in loops if not o.is_alive() or looks[o.name] * look_s > PATIENCE * o.longest_s]
        if failed:
            return failed
    return []
