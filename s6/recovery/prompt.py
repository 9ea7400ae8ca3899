"""The question whether a position was lost, asked so that a store that hangs holds up no stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from s6.health.probe import Check
from s6.ports import StateUnavailable
from s6.store import StoreError, StoreUnavailable

PATIENCE_S: Final = 0.3
REST_S: Final = 5.0


class Recoverer(Protocol):
    """What a rebuilder does here."""

    def may_be_lost(self, position_id: str) -> bool: ...

    def rebuild(self, position_id: str) -> bool: ...

    def restore(self, position_id: str) -> bool: ...


class PromptRecovery:
    """Asks the store for ``PATIENCE_S`` at most, in a helper thread, and once that was not enough not for ``REST_S``.
    A position that has left Redis for good is restored by its trace then.

    A rebuild that comes too late writes only where nobody else has written, so it does no harm.
    """

    def __init__(
        self, rebuilder: Recoverer, seconds: Callable[[], float] = time.monotonic, patience_s: float = PATIENCE_S
    ) -> None:
        self._rebuilder = rebuilder
        self._seconds = seconds
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._not_before = 0.0

    def __call__(self, position_id: str) -> bool:
        """Put a position that Redis lacks back, if it may have been lost: from the store, or else by its trace.

        Returns whether it is there now. Raises ``StoreError``, ``StateUnavailable``.
        """
        if not self._rebuilder.may_be_lost(position_id):
            return False
        try:
            found = self._asked(position_id)
        except StoreError:
            if self._rebuilder.restore(position_id):
                return True
            raise
        return found or self._rebuilder.restore(position_id)  # the store may have been pruned

    def _asked(self, position_id: str) -> bool:
        with self._lock:
            if self._seconds() < self._not_before:
                raise StoreUnavailable("it did not answer in time, and is not asked for a while")
        failed: list[StoreError | StateUnavailable] = []
        outcome = Check(position_id, lambda: self._rebuild(position_id, failed), ()).start()(
            time.monotonic() + self._patience_s
        )
        if failed:
            raise failed[0]
        if outcome.value is None:
            with self._lock:
                self._not_before = self._seconds() + REST_S
            raise StoreUnavailable(f"no answer within {self._patience_s} s")
        return outcome.value

    def _rebuild(self, position_id: str, failed: list[StoreError | StateUnavailable]) -> bool:
        try:
            return self._rebuilder.rebuild(position_id)
        except (StoreError, StateUnavailable) as error:
            failed.append(error)
            return False
