"""Loops in daemon threads. A loop has a thread and is none, so its names never clash with those of ``Thread``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

log = logging.getLogger(__name__)

#: How long a round may take, unless its loop says otherwise.
LONGEST_S: Final = 30.0
#: A loop hangs when it has made no round, or only failed, for so many times the longest that a round may take.
PATIENCE: Final = 4
LOOK_S: Final = 1.0
#: The pause after a round that failed.
FAULT_PAUSE_S: Final = 1.0


class LoopThread:
    """Calls ``round`` again and again in a daemon thread until it is asked to stop, then ``close`` once.

    Parameters
    ----------
    name
        The thread's name, for the log.
    round
        One round of work. It returns the pause before the next round in seconds. A round that raises an exception is
        followed by a pause of ``FAULT_PAUSE_S`` and the next one.
    close
        Gives back what the rounds hold. The loop's own thread calls it, after the last round.
    longest_s
        How long a round and its pause may take, in seconds.
    fault
        Gets the loop's name and the exception of a round that failed, to raise an alert. It must not raise.
    """

    def __init__(
        self,
        name: str,
        round: Callable[[], float],
        close: Callable[[], None] | None = None,
        *,
        longest_s: float = LONGEST_S,
        fault: Callable[[str, Exception], None] | None = None,
    ) -> None:
        self.name = name
        self.longest_s = longest_s
        #: When the newest round that did not fail ended, by ``time.monotonic()``; None before there is one.
        self.last_round: float | None = None
        self._round = round
        self._close = close
        self._fault = fault
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
        """Return whether the loop is alive and a round succeeded within ``longest_s``; false before the first one."""
        return self.is_alive() and self.last_round is not None and time.monotonic() - self.last_round < self.longest_s

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._ending.wait(self._one_round())
        finally:
            if self._close is not None:
                self._close()

    def _one_round(self) -> float:
        try:
            pause_s = self._round()
        except Exception as error:  # whatever it was, the next round may do without it
            log.exception("a round of %s failed", self.name)
            if self._fault is not None:
                self._fault(self.name, error)
            return FAULT_PAUSE_S
        self.last_round = time.monotonic()
        return pause_s


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
