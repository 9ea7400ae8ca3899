"""Come up in any state of the world: positions that Redis lost are rebuilt from the store, and every live order is
checked against S4, before S6 calls itself ready (CONTRACT §9.8).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from typing import Final

from s6 import keys
from s6.model.types import ZERO, Market
from s6.ports import Alerts, Hints, Rebuilt, State
from s6.rebuild import AHEAD, Rebuilder
from s6.reconcile import Reconciler
from s6.relay import Relay
from s6.rules.exact import exactly
from s6.store import Store

log = logging.getLogger(__name__)
PAGE: Final = 500
MARKETS: Final[tuple[Market, ...]] = ("FUT", "SPOT")


@dataclass(slots=True)
class Report:
    """What a cold start did: positions rebuilt from the store, open ones checked, orders asked about."""

    rebuilt: int = 0
    checked: int = 0
    asked: int = 0


class ColdStart:
    """Safe to repeat and to run twice at once: a rebuild writes only where Redis has nothing, a check books by
    cumulative figures."""

    def __init__(
        self, state: State, store: Store, relay: Relay, reconciler: Reconciler, hints: Hints, alerts: Alerts
    ) -> None:
        self._state = state
        self._store = store
        self._relay = relay
        self._reconciler = reconciler
        self._hints = hints
        self._alerts = alerts
        self._rebuilder = Rebuilder(state, store, reconciler.clock)

    def run(self) -> Report:
        """Raises ``StoreUnavailable``, ``NeighbourUnavailable`` or ``StateUnavailable``: then try again later."""
        report = Report()
        self._relay.run()
        self._rebuild_lost(report)
        rebuilt = self._really_rebuilt()
        self._restore_quotas(rebuilt)
        for position_id, was in rebuilt.items():
            report.asked += self._reconciler.unrecorded(position_id, was.op_count)
            self._state.rebuilt_done(position_id)
        for position_id in self._state.open_ids():
            self._rebuilder.mend(position_id)
            report.asked += self._reconciler.position(position_id)
            report.checked += 1
            self._hints.evaluate(position_id)
        log.info("cold start: %s", report)
        return report

    def _really_rebuilt(self) -> dict[str, Rebuilt]:
        """A note of a rebuild is made before it: should the position have been there all along, it means nothing."""
        noted = self._state.rebuilt()
        really = {}
        for (position_id, was), loaded in zip(noted.items(), self._state.load_many(list(noted)), strict=True):
            if loaded is not None and loaded.position.op_count >= was.op_count + AHEAD:
                really[position_id] = was
            elif loaded is not None:
                self._state.rebuilt_done(position_id)
        return really

    def _rebuild_lost(self, report: Report) -> None:
        latest = self._store.latest()
        while shard := [str(doc["position_id"]) for doc in islice(latest, PAGE)]:
            known = self._state.load_many(shard)
            lost = (position_id for position_id, loaded in zip(shard, known, strict=True) if loaded is None)
            report.rebuilt += sum(map(self._rebuilder.rebuild, lost))
        if report.rebuilt:
            text = f"{report.rebuilt} positions were not in Redis and have been rebuilt from the store"
            self._alerts.raise_alert("WARN", "REBUILT", text)

    def _restore_quotas(self, rebuilt: dict[str, Rebuilt]) -> None:
        """Counters that were lost with the positions get back what those had taken until then."""
        found = self._state.load_many(list(rebuilt))
        held = [loaded.position for loaded in found if loaded is not None and loaded.position.is_open]
        for market in MARKETS:
            taken = [rebuilt[p.position_id].taken for p in held if p.market == market]
            with exactly():
                self._state.restore_quota(keys.budget(market), sum(taken, ZERO))
                self._state.restore_quota(keys.concurrency(market), ZERO + len(taken))
