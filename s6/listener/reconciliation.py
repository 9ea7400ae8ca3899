"""Reconciles when the process starts, and again whenever Redis has lost the note that it was done, or is another
server than then: a replica that took over, or a server that was restarted, may lack the newest writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.redis_client import servers
from s6.bootstrap import Services
from s6.health.heartbeat import EVERY_S, live_processes, own_member
from s6.locks import held_softly
from s6.ports import LockBusy, NeighbourUnavailable, StateUnavailable
from s6.store import StoreError, StoreUnavailable

log = logging.getLogger(__name__)
LOOK_S: Final = 1.0
PROLONG_S: Final = 0.3
#: A listener whose heartbeat is older is dead.
HEARD_MS: Final = 2_500
#: A listener that is alive sends another heartbeat within this time.
HEARD_S: Final = 2 * EVERY_S + LOOK_S


class Reconciliation:
    """Governing goes on meanwhile: only ``/health`` waits for it.

    A listener that starts alone first withdraws the note of an earlier one, because nobody has watched since. One that
    starts beside others leaves the note and what it says to them, unless Redis is another server.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._redis: Any = services.redis
        self._first = True
        #: The other listeners' heartbeats at the first look.
        self._heard: dict[str, int] | None = None
        self._heard_until = 0.0
        self._under_way = ("", "")
        self._checked: set[str] = set()

    @property
    def begun(self) -> bool:
        """Whether it has looked once. Until then this process must not be heard: another one that starts at the same
        time would leave everything to it."""
        return self._heard is not None

    def round(self) -> float:
        """Look once. Returns the pause before the next round, in s."""
        self.look()
        return LOOK_S

    def look(self) -> None:
        """Reconcile if that is due; what can't be done now is tried again with the next look."""
        try:
            may_begin = not self._first or self._may_begin()
            now_on = servers(self._redis)
            noted = self._redis.get(keys.SERVERS)
            if now_on and noted and noted != now_on:
                may_begin = True  # whoever else watches sees it as well, and one of us reconciles
            if not may_begin:
                return
            if now_on and noted != now_on:
                self._services.state.doubt()
            if self._first or not self._redis.exists(keys.RECONCILED):
                self._reconcile(now_on)
        except LockBusy:
            return  # another listener reconciles
        except (RedisError, StateUnavailable, StoreError, NeighbourUnavailable) as error:
            log.warning("not reconciled yet: %s", error)

    def _may_begin(self) -> bool:
        """Return whether to go on: no other listener is alive (the old note is withdrawn), or one surely is."""
        own = own_member("listener")
        others = (h for h in live_processes(self._redis) if h.role == "listener" and h.member != own)
        beats = {other.member: other.ts for other in others if not other.is_dead()}
        if self._heard is None:
            since = self._services.clock.now_ms() - HEARD_MS
            self._heard = {member: ts for member, ts in beats.items() if ts >= since}
            self._heard_until = time.monotonic() + HEARD_S
        if any(member in beats and beats[member] != ts for member, ts in self._heard.items()):
            self._first = False  # another listener watches, and has watched all the time
            return True
        if self._heard and time.monotonic() < self._heard_until:
            return False
        self._redis.delete(keys.RECONCILED)
        return True

    def _prepare_store(self) -> None:
        """Create the store's collections and indexes. Without the right to create, what is there must do."""
        try:
            self._services.store.init()
        except StoreUnavailable:
            raise
        except StoreError as error:
            log.warning("nothing created in the store: %s", error)

    def _reconcile(self, on: str) -> None:
        with held_softly(self._services.state, keys.RECONCILE_LOCK, self._services.clock) as token:
            if (on, self._redis.get(keys.RECONCILING)) != self._under_way:
                self._checked.clear()  # Redis was emptied meanwhile, or is another, or others have reconciled
            self._redis.set(keys.RECONCILING, token)
            self._under_way = on, token
            self._prepare_store()
            self._services.alerts.restore_standing()
            report = self._services.cold_start.run(self._checked, self._prolonging(token))
            if self._redis.get(keys.RECONCILING) != token:  # Redis was emptied meanwhile, or another began after us
                return
            self._redis.set(keys.SERVERS, on)
            self._redis.set(keys.RECONCILED, str(self._services.clock.now_ms()))
            self._first = False
            self._under_way = "", ""
            log.info("reconciled: %s", report)

    def _prolonging(self, token: str) -> Callable[[], None]:
        """Return what holds the lock on; Redis is asked a few times a second at most."""
        lock, prolonged = keys.RECONCILE_LOCK, time.monotonic()

        def gets_on() -> None:
            nonlocal prolonged
            if time.monotonic() - prolonged >= PROLONG_S:
                prolonged = time.monotonic()
                self._services.state.prolong(lock.key, token, lock.ttl_ms)

        return gets_on
