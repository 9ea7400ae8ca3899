"""Starts from any state of the world: rebuilds positions that Redis lost from the store, and checks every live order
against S4, before S6 calls itself ready (CONTRACT §9.8).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from s6 import keys
from s6.engine.outbox_relay import OutboxRelay
from s6.engine.sweep import CLOSED_KEEP_MS
from s6.model.commit import Loaded
from s6.model.types import Market
from s6.ports import Alerts, Hints, NeighbourUnavailable, PositionIndex, StateUnavailable
from s6.recovery.rebuilder import Rebuilder, RebuilderState, is_behind, is_over
from s6.recovery.reconciler import Reconciler
from s6.store import Document, Store

log = logging.getLogger(__name__)
PAGE: Final = 500
UNANSWERED_IN_A_ROW: Final = 10
MARKETS: Final[tuple[Market, ...]] = ("FUT", "SPOT")


@dataclass(slots=True)
class Report:
    """What a cold start did: positions rebuilt from the store, open ones checked, orders asked about."""

    rebuilt: int = 0
    checked: int = 0
    asked: int = 0


class ColdStartState(RebuilderState, PositionIndex, Protocol):
    """What a cold start needs of the state."""


class ColdStart:
    """May be repeated and run twice at once: a rebuild writes only over what is older than the store, and a check books
    cumulative figures."""

    def __init__(
        self,
        state: ColdStartState,
        store: Store,
        relay: OutboxRelay,
        reconciler: Reconciler,
        hints: Hints,
        alerts: Alerts,
        closed_keep_ms: int = CLOSED_KEEP_MS,
    ) -> None:
        self._state = state
        self._store = store
        self._relay = relay
        self._reconciler = reconciler
        self._hints = hints
        self._alerts = alerts
        self._clock = reconciler.clock
        self._closed_keep_ms = closed_keep_ms
        self._rebuilder = Rebuilder(state, store, reconciler.clock)

    def run(self, checked: set[str] | None = None, gets_on: Callable[[], object] = bool) -> Report:
        """Rebuild, restore the quotas, and check all open positions. Returns what was done.

        Positions in ``checked`` are left out, and each one that was checked is added: the next run goes on from there.
        ``gets_on`` is called after each part of the work.

        Raises ``StoreUnavailable``, ``NeighbourUnavailable``, ``StateUnavailable``: then run it again.
        """
        report, checked = Report(), set() if checked is None else checked
        self._relay.run()
        self._rebuild_lost(report, checked, gets_on)
        self._restore_quotas()
        self._check_all(report, checked, gets_on)
        log.info("cold start: %s", report)
        return report

    def _check_all(self, report: Report, checked: set[str], gets_on: Callable[[], object]) -> None:
        """Ask S4 about each open position that isn't ``checked`` yet.

        One question without an answer stops no other, but so many in a row do. Raises ``NeighbourUnavailable`` then.
        """
        unanswered: NeighbourUnavailable | None = None
        in_a_row = 0
        for position_id in self._state.open_ids():
            if position_id in checked:
                continue
            gets_on()
            try:
                self._rebuilder.mend(position_id)
                asked = self._reconciler.verify(position_id) or self._reconciler.reconcile_position(position_id)
            except NeighbourUnavailable as error:
                unanswered, in_a_row = error, in_a_row + 1
                if in_a_row >= UNANSWERED_IN_A_ROW:
                    break
                continue
            in_a_row = 0
            checked.add(position_id)
            report.asked += asked
            report.checked += 1
            self._hints.evaluate(position_id)
        if unanswered is not None:
            raise unanswered

    def _rebuild_lost(self, report: Report, checked: set[str], gets_on: Callable[[], object]) -> None:
        """Rebuild what Redis lacks or has in an older state than the store. Workers verify it meanwhile."""
        latest = self._store.latest()
        while shard := {str(doc["position_id"]): doc for doc in islice(latest, PAGE)}:
            known = dict(zip(shard, self._state.load_many(list(shard)), strict=True))
            gone = self._gone(shard, known)
            self._state.note_gone(gone)
            lost = [
                position_id
                for position_id, loaded in known.items()
                if position_id not in gone and (loaded is None or is_behind(loaded.position, shard[position_id]))
            ]
            rebuilt = []
            for position_id in lost:
                gets_on()
                if self._rebuilder.rebuild(position_id):
                    rebuilt.append(position_id)
            gets_on()
            report.rebuilt += len(rebuilt)
            checked.difference_update(rebuilt)
            self._hints.evaluate_many(rebuilt)
        if report.rebuilt:
            text = (
                f"{report.rebuilt} positions were lost in Redis, or newer in the store, and have been rebuilt from it"
            )
            self._alerts.raise_alert("WARN", "REBUILT", text)

    def _gone(self, shard: Mapping[str, Document], known: Mapping[str, Loaded | None]) -> dict[str, int]:
        """What has been over for so long that it has left Redis. What is over and still there is noted as closed."""
        gone = {}
        for position_id, doc in shard.items():
            loaded = known[position_id]
            if is_over(doc) and loaded is None and self._clock.now_ms() - int(str(doc["ts"])) > self._closed_keep_ms:
                gone[position_id] = int(str(doc["ts"]))
            elif is_over(doc) and loaded is not None and not loaded.position.is_open and not loaded.position.orders:
                self._state.settled(loaded.position)
        return gone

    def _restore_quotas(self) -> None:
        """Restore lost quota counters from the rebuilt positions' outboxes. Once these are empty, no rebuilt position
        can be counted twice."""
        rebuilt = self._state.rebuilt()
        for position_id in rebuilt:
            self._state.relay_events(position_id, self._alerts.deliver)
        waiting = self._state.outbox_read(rebuilt, 1)
        if len(waiting) < len(rebuilt) or any(one.events for one in waiting.values()):
            raise StateUnavailable("what rebuilt positions had taken of the quotas is still on its way")
        for market in MARKETS:
            self._state.quota_whole(keys.budget(market))
            self._state.quota_whole(keys.concurrency(market))
        for position_id in rebuilt:
            self._state.rebuilt_done(position_id)
