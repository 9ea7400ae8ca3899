"""A position that Redis has lost, or has only as it was, comes back from the store: its newest snapshot, and every
order's books.

What S6 did after that snapshot nobody wrote down for good. So the position is unverified from its next operation on:
nothing is begun before S4 has been asked for orders under the ids that may have been given. New operations count on
from far ahead, lest an id be given twice; so do revisions, lest a writer that still holds the lost ones be believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from s6 import keys
from s6.model.codec import from_fields
from s6.model.commit import Cleared, Commit, QuotaMove
from s6.model.documents import snapshot
from s6.model.operation import AHEAD, Operation
from s6.model.position import Order, Position
from s6.model.types import OPENING_KINDS, ZERO
from s6.ports import Clock, Commits, Losses, Outbox, Positions
from s6.rules.exact import exactly
from s6.store import Store, StoreConflict

PAGE: Final = 500


@dataclass(slots=True)
class _Story:
    """What the snapshots tell: each order's newest books, and what the quotas were moved by after a given step."""

    books: dict[str, Order] = field(default_factory=dict)
    moves: list[QuotaMove] = field(default_factory=list)


class RebuilderState(Positions, Commits, Outbox, Losses, Protocol):
    """What rebuilding needs of the state."""


class Rebuilder:
    """Safe to repeat and to run twice at once: it writes only over what it has read."""

    def __init__(self, state: RebuilderState, store: Store, clock: Clock) -> None:
        self._state = state
        self._store = store
        self._clock = clock

    def recover(self, position_id: str) -> bool:
        """Put a position that isn't in Redis back, if it may have been lost and the store knows it.

        Raises ``StoreError`` or ``StateUnavailable``.
        """
        return self._state.may_be_lost(position_id) and self.rebuild(position_id)

    def rebuild(self, position_id: str) -> bool:
        """Put it back, unless the store knows no more than Redis, or somebody else writes meanwhile."""
        self._flush(position_id)
        newest = self._store.snapshots(position_id=position_id, limit=1, newest_first=True).items
        if not newest:
            return False
        latest: Mapping[str, Any] = newest[0]
        stored = from_fields(Position, latest["state"])
        op = from_fields(Operation, latest["op"]) if latest.get("op") else None
        loaded = self._state.load(position_id)  # after the store: what is behind that was never ahead of it
        live = loaded.position if loaded is not None else None
        if live is not None and not is_behind(live, latest):
            return False
        story = self._story(position_id, live.seq if live is not None else stored.seq)
        unheard = tuple(_unheard(story.books, self._state.own_orders(position_id)))
        after = self._resumed(stored, live, op, unheard)
        shown = [snapshot(replace(after, rev=after.rev + 1), "AFTER", after.cause, after.ts, op=op)]
        quotas = story.moves
        if live is None and stored.is_open:
            self._state.note_rebuilt(position_id)
            quotas = _share(stored)
        return (
            self._state.commit(
                Commit(
                    after,
                    op,
                    orders=(*story.books.values(), *unheard),
                    snapshots=tuple(shown) if after.unverified_from else (),
                    quotas=tuple(quotas),
                    over=live.rev if live is not None else 0,
                )
            )
            is not None
        )

    def _resumed(
        self, stored: Position, live: Position | None, op: Operation | None, unheard: tuple[Order, ...]
    ) -> Position:
        """The position as it goes on from its newest snapshot. What is closed and at rest needs no asking."""
        before = live or stored
        orders = (*stored.orders, *unheard)
        position = replace(
            stored,
            rev=max(stored.rev, before.rev) + AHEAD,
            op_count=max(stored.op_count, before.op_count) + AHEAD,
            rebuilt_ts=self._clock.now_ms(),
            orders=orders,
        )
        if not stored.is_open and not orders and op is None:
            return replace(position, unverified_from=0)
        unrecorded = stored.unverified_from or stored.op_count + 1
        leaving = before.exit_reason if before.life == stored.life and stored.is_open else ""
        return replace(
            position,
            seq=stored.seq + 1,
            ts=position.rebuilt_ts,
            cause="REBUILT",
            unverified_from=min(unrecorded, before.unverified_from or unrecorded),
            exit_reason=stored.exit_reason or leaving,
        )

    def mend(self, position_id: str) -> None:
        """Write anew what hangs on an existing position's state: its side hashes, and its orders' books."""
        loaded = self._state.load(position_id)
        if loaded is not None and self._state.torn(position_id):
            self._flush(position_id)
            books = self._story(position_id, loaded.position.seq).books
            books |= {o.client_order_id: o for o in loaded.position.orders}
            self._state.commit(Commit(loaded.position, loaded.op, orders=tuple(books.values())))

    def _flush(self, position_id: str) -> None:
        """What still waits for the store belongs to the history that is read next; what contradicts it does not, and
        is left to the relay to be put aside."""
        while docs := self._state.outbox_peek(position_id, PAGE):
            try:
                self._store.write_snapshots(docs)
            except StoreConflict:
                return
            self._state.outbox_clear([Cleared(position_id, len(docs), str(docs[-1]["_key"]), None)])

    def _story(self, position_id: str, since: int) -> _Story:
        """Every order's books, folded over the snapshots, and the quotas' moves in those after ``since``."""
        story = _Story()
        before: Position | None = None
        for doc in self._history(position_id):
            after = from_fields(Position, doc["state"])
            about = from_fields(Order, doc["order"]) if doc.get("order") else None
            for order in (*after.orders, *((about,) if about is not None else ())):
                story.books[order.client_order_id] = order
            if about is not None and int(doc["seq"]) > since:
                story.moves += _moves(before, after, about)
            before = after
        return story

    def _history(self, position_id: str) -> Iterator[Mapping[str, Any]]:
        cursor: str | None = None
        while True:
            page = self._store.snapshots(position_id=position_id, limit=PAGE, cursor=cursor)
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return


def is_behind(live: Position, latest: Mapping[str, Any]) -> bool:
    """Whether a snapshot in the store, read before ``live`` was, is of a later step: Redis has lost some."""
    return int(latest["seq"]) > live.seq and int(latest["life"]) >= live.life


def _unheard(books: Mapping[str, Order], known: list[Order]) -> Iterator[Order]:
    """Orders of which Redis has heard what the store has not: to be asked for, and booked anew, on the store's word."""
    for order in known:
        told = books.get(order.client_order_id)
        if told is None:
            yield replace(order, status="PENDING", filled=ZERO, avg_price=ZERO, fee=ZERO)
        elif order.filled > told.filled and not told.live:
            yield replace(told, status="PENDING")


def _share(p: Position) -> list[QuotaMove]:
    """What the position had taken of counters that may have been lost with it; once in a counter's life."""
    move = f"{p.position_id}:{p.life}:rebuilt"
    return [
        QuotaMove(move, keys.budget(p.market), p.reserved_margin, restores=True),
        QuotaMove(move, keys.concurrency(p.market), ZERO + 1, restores=True),
    ]


def _moves(before: Position | None, after: Position, order: Order) -> list[QuotaMove]:
    """How the result of an order had moved the quotas, under the ids of then: counters that know of it stay as they
    are (``s6.booking`` makes them)."""
    p = after
    same_life = before is not None and before.life == p.life
    moves: list[QuotaMove] = []
    if order.kind == "ADD":
        with exactly():
            taken = p.reserved_margin - (before.reserved_margin if before is not None and same_life else ZERO)
        move = f"{p.position_id}:{p.life}:{order.client_order_id}:{order.filled}"
        if taken:
            moves.append(QuotaMove(move, keys.budget(p.market), taken))
        if not same_life:
            moves.append(QuotaMove(move, keys.concurrency(p.market), ZERO + 1))
    elif order.kind not in OPENING_KINDS and before is not None and before.is_open and same_life and not p.is_open:
        close = f"{p.position_id}:{p.life}:close"
        with exactly():
            moves.append(QuotaMove(close, keys.concurrency(p.market), ZERO - 1))
            moves.append(QuotaMove(close, keys.budget(p.market), -p.reserved_margin))
    return moves
