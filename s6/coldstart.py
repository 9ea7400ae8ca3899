"""Come up in any state of the world: positions that Redis lost are rebuilt from the store, and every live order is
checked against S4, before S6 calls itself ready (CONTRACT §9.8).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, cast

from s6.model.codec import from_fields
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.ports import Alerts, Commit, Hints, State
from s6.reconcile import Reconciler
from s6.relay import Relay
from s6.store import Store

log = logging.getLogger(__name__)
PAGE: Final = 500


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

    def run(self) -> Report:
        """Raises ``StoreUnavailable``, ``NeighbourUnavailable`` or ``StateUnavailable``: then try again later."""
        report = Report()
        self._relay.run()  # what still waits belongs to the history that is read next
        latest = self._store.latest()
        while shard := list(islice(latest, PAGE)):
            known = self._state.load_many([str(doc["position_id"]) for doc in shard])
            lost = (doc for doc, loaded in zip(shard, known, strict=True) if loaded is None)
            report.rebuilt += sum(map(self._rebuild, lost))
        if report.rebuilt:
            text = f"{report.rebuilt} positions were not in Redis and have been rebuilt from the store"
            self._alerts.raise_alert("WARN", "REBUILT", text)
        for position_id in self._state.open_ids():
            report.asked += self._reconciler.position(position_id)
            report.checked += 1
            self._hints.evaluate(position_id)
        log.info("cold start: %s", report)
        return report

    def _rebuild(self, latest: Mapping[str, object]) -> bool:
        """Put one position back, unless somebody just has; with its orders' books: nothing is applied twice."""
        position_id = str(latest["position_id"])
        raw = cast(Mapping[str, str], latest["state"])
        position = replace(from_fields(Position, raw), rev=0)
        op_raw = cast(Mapping[str, str] | None, latest.get("op"))
        op = from_fields(Operation, op_raw) if op_raw else None
        orders = tuple(self._orders_of(position_id))
        return self._state.commit(Commit(position, op, orders=orders)) is not None

    def _orders_of(self, position_id: str) -> Iterator[Order]:
        """Every order's books, folded over the snapshots: the newest word about each."""
        books: dict[str, Order] = {}
        cursor: str | None = None
        while True:
            page = self._store.snapshots(position_id=position_id, limit=PAGE, cursor=cursor)
            for doc in page.items:
                for order in orders_in(doc):
                    books[order.client_order_id] = order
            cursor = page.next_cursor
            if cursor is None:
                yield from books.values()
                return


def orders_in(doc: Mapping[str, Any]) -> Iterator[Order]:
    """The orders a snapshot speaks of, as it has them."""
    yield from from_fields(Position, doc["state"]).orders
    if doc.get("order"):
        yield from_fields(Order, doc["order"])
