"""Runs checks that may hang, and answers in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """A check's outcome. ``value`` is None if it failed or has not ended, and ``trouble`` says which."""

    value: T | None
    latency_ms: int
    trouble: str = ""


class Check(Generic[T]):
    """Runs ``probe`` in its own thread. While one run hangs, later starts wait for it instead of starting another."""

    def __init__(self, name: str, probe: Callable[[], T], errors: tuple[type[Exception], ...]) -> None:
        self._name, self._probe, self._errors = name, probe, errors
        self._lock = threading.Lock()
        self._run: _Run[T] | None = None

    def start(self) -> Callable[[float], Outcome[T]]:
        """Start a run unless one is under way. Returns a function that waits until a ``time.monotonic()`` time."""
        with self._lock:
            run = self._run
            if run is None or run.done.is_set():
                run = self._run = _Run(self._probe, self._errors)
                threading.Thread(target=run, name=f"check-{self._name}", daemon=True).start()
        return run.outcome


class _Run(Generic[T]):
    def __init__(self, probe: Callable[[], T], errors: tuple[type[Exception], ...]) -> None:
        self._probe, self._errors = probe, errors
        self._began = time.monotonic()
        self._outcome: Outcome[T] = Outcome(None, 0, "ended without a result")
        self.done = threading.Event()

    def __call__(self) -> None:
        try:
            self._outcome = Outcome(self._probe(), self._elapsed_ms())
        except self._errors as error:
            self._outcome = Outcome(None, self._elapsed_ms(), f"{type(error).__name__}: {error}"[:300])
        finally:
            self.done.set()

    def outcome(self, until: float) -> Outcome[T]:
        if self.done.wait(max(0.0, until - time.monotonic())):
            return self._outcome
        return Outcome(None, self._elapsed_ms(), f"no answer for {self._elapsed_ms()} ms")

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)
