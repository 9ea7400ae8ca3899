"""One pending look per position: hints that ask for an evaluation are sent only where none is on its way already.

What is asked for stands in Redis until the evaluation begins. An urgent look overtakes those that wait, and a look at
once overtakes a delayed one, which stays: it may be about something that falls due by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from s6.model.operation import Operation
from s6.ports import Clock, Hints, PendingLooks, StateUnavailable

log = logging.getLogger(__name__)
LONGEST_MS: Final = 30_000  # longer waits are looked at again then
LOST_MS: Final = 1_000
LOST_AT_ONCE: Final = 1_000
STUCK_MS: Final = 5_000
"""A live worker begins a look within this time, unless the look died with another worker."""


class QueuedHints(Hints, Protocol):
    """Hints that go through a queue."""

    def evaluate(self, position_id: str, *, delay_ms: int = 0, attempt: int = 0) -> None:
        """``attempt`` counts how often the evaluation could not be made so far."""

    def waiting(self) -> int | None:
        """Return how many evaluations wait in the queue, None when it cannot be asked."""


class Looks:
    """``s6.ports.Hints`` over others. With Redis away every hint is sent: none is worse than one too many."""

    def __init__(self, hints: QueuedHints, state: PendingLooks, clock: Clock) -> None:
        self._hints = hints
        self._state = state
        self._clock = clock

    def evaluate(self, position_id: str, *, delay_ms: int = 0, attempt: int = 0) -> None:
        now, delay = self._clock.now_ms(), min(delay_ms, LONGEST_MS)
        if delay > 0:
            wanted = _noted([position_id], lambda: self._state.note_later_look(position_id, now + delay))
        else:
            wanted = _noted([position_id], lambda: self._state.note_looks([position_id], now))
        if wanted:
            self._hints.evaluate(position_id, delay_ms=delay, attempt=attempt)

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        now = self._clock.now_ms()
        wanted = _noted(position_ids, lambda: self._state.note_looks(position_ids, now, urgent=urgent))
        self._hints.evaluate_many(wanted, urgent=urgent)

    def protect(self, position_id: str) -> None:
        now = self._clock.now_ms()
        if _noted([position_id], lambda: self._state.note_looks([position_id], now, urgent=True)):
            self._hints.protect(position_id)

    def execute(self, position_id: str, op: Operation) -> None:
        self._hints.execute(position_id, op)

    def resume(self, position_id: str, op: Operation) -> None:
        self._hints.resume(position_id, op)

    def begin(self, position_id: str) -> None:
        """The evaluation begins now: what is asked for from here on is another look. Raises ``StateUnavailable``."""
        self._state.take_look(position_id, self._clock.now_ms())

    def hand_back(self, position_ids: Sequence[str]) -> None:
        """Ask anew for looks that were taken off the queue and not begun."""
        for position_id in position_ids:
            try:
                self.begin(position_id)
            except StateUnavailable as error:
                log.warning("%s is looked at by the sweep: %s", position_id, error)
        self.evaluate_many(position_ids)

    def ask_again(self, working: Callable[[], bool] = bool) -> int:
        """Ask anew for looks that are overdue although nothing waits in the queue: they died with their worker.

        While other looks keep the queue filled, and a worker lives (``working``), they are asked for after 5 s all the
        same: one too many costs less than one that never comes. Returns how many. Raises ``StateUnavailable``.
        """
        now = self._clock.now_ms()
        lost = self._state.overdue_looks(now - LOST_MS, LOST_AT_ONCE)
        if lost and self._hints.waiting() != 0:
            lost = self._state.overdue_looks(now - STUCK_MS, LOST_AT_ONCE) if working() else []
        for position_id, urgent in lost:
            self.begin(position_id)
            if urgent:
                self.protect(position_id)
            else:
                self.evaluate(position_id)
        return len(lost)


def _noted(position_ids: Sequence[str], note: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Those to send a hint for: of which none was on its way, or all when Redis cannot say."""
    try:
        return note()
    except StateUnavailable as error:
        log.warning("hints are sent unseen: %s", error)
        return position_ids
