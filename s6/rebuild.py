"""A position that Redis has lost comes back from the store: its newest snapshot, and every order's books.

What S6 did after that snapshot nobody wrote down for good. So its operations are counted on from far ahead, lest an id
be given twice, and the position is noted for the reconciliation, which asks S4 for orders under the ids in between;
until then nothing but an EXIT is begun, for a while.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from s6.model.codec import from_fields
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.ports import Cleared, Clock, Commit, Rebuilt, State
from s6.store import Store

PAGE: Final = 500
AHEAD: Final = 1_000
PATIENCE_MS: Final = 5_000


class Rebuilder:
    """Safe to repeat and to run twice at once: it writes only where Redis has nothing."""

    def __init__(self, state: State, store: Store, clock: Clock) -> None:
        self._state = state
        self._store = store
        self._clock = clock

    def recover(self, position_id: str) -> bool:
        """Put a position that isn't in Redis back, if it may have been lost and the store knows it.

        Raises ``StoreError`` or ``StateUnavailable``.
        """
        return self._state.may_be_lost(position_id) and self.rebuild(position_id)

    def rebuild(self, position_id: str) -> bool:
        """Put it back, unless the store knows nothing of it or somebody just has."""
        self._flush(position_id)
        newest = self._store.snapshots(position_id=position_id, limit=1, newest_first=True).items
        if not newest:
            return False
        latest: Mapping[str, Any] = newest[0]
        position = from_fields(Position, latest["state"])
        op = from_fields(Operation, latest["op"]) if latest.get("op") else None
        self._state.note_rebuilt(position_id, Rebuilt(position.op_count, position.taken))
        later = self._clock.now_ms() + PATIENCE_MS
        count = position.op_count + AHEAD
        position = replace(position, rev=0, op_count=count, sl_not_before=later, hold_until=later)
        return self._state.commit(Commit(position, op, orders=tuple(self._orders(position_id)))) is not None

    def mend(self, position_id: str) -> None:
        """Write anew what hangs on an existing position's state: its side hashes, and its orders' books."""
        loaded = self._state.load(position_id)
        if loaded is not None and self._state.torn(position_id):
            self._flush(position_id)
            books = {o.client_order_id: o for o in (*self._orders(position_id), *loaded.position.orders)}
            self._state.commit(Commit(loaded.position, loaded.op, orders=tuple(books.values())))

    def _flush(self, position_id: str) -> None:
        """What still waits for the store belongs to the history that is read next."""
        while docs := self._state.outbox_peek(position_id, PAGE):
            self._store.write_snapshots(docs)
            self._state.outbox_clear([Cleared(position_id, len(docs), str(docs[-1]["_key"]), None)])

    def _orders(self, position_id: str) -> Iterator[Order]:
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
