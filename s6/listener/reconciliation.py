"""Reconcile when the process comes up, and again whenever Redis has lost the note that it was done."""

from __future__ import annotations

import logging
import threading
from typing import Any, Final

from redis.exceptions import RedisError

from s6.bootstrap import House
from s6.ports import NeighbourUnavailable, StateUnavailable
from s6.store import StoreError

log = logging.getLogger(__name__)
DONE: Final = "s6:reconciled"
LOCK: Final = "lock:reconcile"
LOCK_MS: Final = 60_000
LOOK_S: Final = 1.0


class Reconciliation(threading.Thread):
    """Governing goes on meanwhile: only ``/health`` waits for it."""

    def __init__(self, house: House, ending: threading.Event) -> None:
        super().__init__(name="reconciliation", daemon=True)
        self._house = house
        self._redis: Any = house.redis
        self._ending = ending
        self._first = True

    def run(self) -> None:
        while not self._ending.is_set():
            self.look()
            self._ending.wait(LOOK_S)

    def look(self) -> None:
        """Reconcile if that is due; what can't be done now is tried again with the next look."""
        try:
            if self._first or not self._redis.exists(DONE):
                self._reconcile()
        except (RedisError, StateUnavailable, StoreError, NeighbourUnavailable) as error:
            log.warning("not reconciled yet: %s", error)

    def _reconcile(self) -> None:
        token = self._house.state.lock(LOCK, LOCK_MS)
        if token is None:
            return
        try:
            self._house.alerts.restore_standing()
            report = self._house.coldstart.run()
            self._redis.set(DONE, str(self._house.clock.now_ms()))
            self._first = False
            log.info("reconciled: %s", report)
        finally:
            self._house.state.unlock(LOCK, token)
