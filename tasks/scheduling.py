"""Orders the threads of a worker process: what is decided is carried out before more is decided.

Threads share one processor's worth of Python. Deciding for twenty positions at once would make every one of them wait
with its old stop cancelled until the last was decided, so decisions are made one at a time, between the steps of
operations. A step that waits for S4 holds decisions up for no longer than ``PATIENCE_S``.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE_S: Final = 0.05


class StepPriority:
    """Gives operations' steps priority over decisions within one process."""

    def __init__(self) -> None:
        self._deciding = threading.Lock()
        self._done = threading.Condition()
        self._steps = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Take an operation's step. It never waits."""
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
        """Decide one at a time, after the steps under way or after ``PATIENCE_S``."""
        with self._deciding:
            with self._done:
                self._done.wait_for(lambda: not self._steps, PATIENCE_S)
            yield


class EvaluationQueue:
    """Positions to decide about, each once however often it is asked for, by ``size`` threads at most.

    A thread that waits to decide cannot take an operation's next step. So a thread that finds enough others at work
    leaves its positions to them and returns.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._at_work = 0
        self._urgent: dict[str, None] = {}
        self._others: dict[str, None] = {}
        self.ending = False

    def work(self, *position_ids: str, urgent: bool = False) -> Generator[str, None, None]:
        """Queue positions. Yields the positions that the caller decides about itself, perhaps none.

        Close the iterator when leaving it early.
        """
        with self._lock:
            for position_id in position_ids:
                if urgent:
                    self._others.pop(position_id, None)
                    self._urgent[position_id] = None
                elif position_id not in self._urgent:
                    self._others[position_id] = None
            if self._at_work >= self._size:
                return
            self._at_work += 1
        left = False
        try:
            while True:
                with self._lock:
                    waiting = self._urgent or self._others
                    if self.ending or not waiting:
                        self._at_work -= 1  # under the same lock as the look: a thread that comes later finds room
                        left = True
                        return
                    name = next(iter(waiting))
                    del waiting[name]
                yield name
        finally:
            if not left:
                with self._lock:
                    self._at_work -= 1

    def left_over(self) -> list[str]:
        """Return the positions that nobody will decide about because the worker ends: hint at them again."""
        if not self.ending:
            return []
        with self._lock:
            names = [*self._urgent, *self._others]
            self._urgent.clear()
            self._others.clear()
        return names


priority = StepPriority()
