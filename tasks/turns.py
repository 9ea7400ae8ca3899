"""Who goes first within a worker process: what is decided is carried out before more is decided.

Threads share one processor's worth of Python. Deciding for twenty positions at once would make every one of them wait
with its old stop cancelled until the last was decided, so decisions are made one at a time, between the steps of
operations. A step that waits for S4 holds decisions up for no longer than ``PATIENCE_S``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_S: Final = 0.05


class Turns:
    """The turns of one process's threads."""

    def __init__(self) -> None:
        self._deciding = threading.Lock()
        self._done = threading.Condition()
        self._steps = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """An operation's step: never waits."""
        with self._done:
            self._steps += 1
        try:
            yield
        finally:
            with self._done:
                self._steps -= 1
                if not self._steps:
                    self._done.notify_all()

    @contextmanager
    def decision(self) -> Iterator[None]:
        """One at a time, after the steps that are being gone, or after a moment's patience with them."""
        with self._deciding:
            with self._done:
                self._done.wait_for(lambda: not self._steps, PATIENCE_S)
            yield


turns = Turns()
