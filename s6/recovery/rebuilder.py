"""Rebuilds a position that Redis has lost, or has in an older state, from the store: its newest snapshot, and every
order's books.

What S6 did after that snapshot is recorded nowhere. So the position is unverified from its next operation on: nothing
begins before S4 has been asked for orders under the ids that may have been used. New operations count on from far
ahead, so that no id is used twice; so do revisions, so that a writer that still holds a lost one is refused.
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
from s6.ports import Clock, Commits, Losses, Outbox, Positions, StateUnavailable
from s6.rules.exact import exactly
from s6.store import Store, StoreConflict, StoreError

PAGE: Final = 500
PAGES: Final = 1_000


@dataclass(slots=True)
class _Story:
    """What the snapshots hold: each order's newest books, and how the quotas moved after a given step."""

    books: dict[str, Order] = field(default_factory=dict)
    moves: list[QuotaMove] = field(default_factory=list)


class RebuilderState(Positions, Commits, Outbox, Losses, Protocol):
    """What rebuilding needs of the state."""


class Rebuilder:
    """May be repeated and run twice at once: it writes only over what it has read."""

    def __init__(self, state: RebuilderState, store: Store, clock: Clock) -> None:
        self._state = state
        self._store = store
        self._clock = clock

    def recover(self, position_id: str) -> bool:
        """Put back a position that is not in Redis, if it may have been lost: from the store, or else by its trace.

        Returns whether it was put back. Raises ``StoreError``, ``StateUnavailable``.
        """
        if not self.may_be_lost(position_id):
            return False
        try:
            found = self.rebuild(position_id)
        except StoreError:
            if self.restore(position_id):
                return True
            raise
        return found or self.restore(position_id)  # the store may have been pruned

    def may_be_lost(self, position_id: str) -> bool:
        """Return whether a position that Redis lacks may have been there. Raises ``StateUnavailable``."""
        return self._state.may_be_lost(position_id)

    def restore(self, position_id: str) -> bool:
        """Put a closed position back by the trace that it left in Redis: its counters, without its orders' books.

        Returns whether there was one. Raises ``StateUnavailable``.
        """
        trace = self._state.trace(position_id)
        if not trace:
            return False
        p = from_fields(Position, {**trace, "position_id": position_id, "status": "CLOSED"})
        now = self._clock.now_ms()
        p = replace(p, rev=p.rev + AHEAD, op_count=p.op_count + AHEAD, rebuilt_ts=now, closed_ts=now, ts=now)
        return self._state.commit(Commit(p, None, over=0)) is not None

    def rebuild(self, position_id: str) -> bool:
        """Put a position back, unless the store knows no more than Redis, or somebody else writes meanwhile.

        Returns whether it was put back. Raises ``StoreError``, ``StateUnavailable``.
        """
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
        unstored = tuple(_unstored(story.books, self._state.own_orders(position_id)))
        after = self._resumed(stored, live, op, unstored)
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
                    orders=(*story.books.values(), *unstored),
                    snapshots=tuple(shown) if after.unverified_from else (),
                    quotas=tuple(quotas),
                    over=live.rev if live is not None else 0,
                )
            )
            is not None
        )

    def _resumed(
        self, stored: Position, live: Position | None, op: Operation | None, unstored: tuple[Order, ...]
    ) -> Position:
        """Return the position as it goes on from its newest snapshot. One that is closed and at rest stays verified."""
        before = live or stored
        orders = (*stored.orders, *unstored)
        position = replace(
            stored,
            rev=max(stored.rev, before.rev) + AHEAD,
            op_count=max(stored.op_count, before.op_count) + AHEAD,
            rebuilt_ts=max(self._clock.now_ms(), stored.ts, before.ts),
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
        """Write an existing position's side hashes and its orders' books again, if some are gone."""
        loaded = self._state.load(position_id)
        if loaded is not None and self._state.torn(position_id):
            self._flush(position_id)
            books = self._story(position_id, loaded.position.seq).books
            books |= {o.client_order_id: o for o in loaded.position.orders}
            self._state.commit(Commit(loaded.position, loaded.op, orders=tuple(books.values()), whole=True))

    def _flush(self, position_id: str) -> None:
        """Write the position's waiting snapshots to the store, so that its history is whole when it is read next.

        What contradicts the store is left to the relay, which puts it aside.
        """
        for _ in range(PAGES):
            docs = self._state.outbox_peek(position_id, PAGE)
            if not docs:
                return
            try:
                self._store.write_snapshots(docs)
            except StoreConflict:
                return
            self._state.outbox_clear([Cleared(position_id, len(docs), str(docs[-1]["_key"]), None)])
        raise StateUnavailable(f"{position_id}: more than {PAGES * PAGE} snapshots wait for the store")

    def _story(self, position_id: str, since: int) -> _Story:
        """Return every order's books, folded over the snapshots, and the quotas' moves after step ``since``."""
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


def is_over(latest: Mapping[str, Any]) -> bool:
    """Return whether a position's newest snapshot shows it closed and at rest: nothing of it may still come."""
    state = latest["state"]
    busy = state.get("orders") or latest.get("op") or state.get("unverified_from", "0") != "0"
    return latest["status"] == "CLOSED" and not busy


def is_behind(live: Position, latest: Mapping[str, Any]) -> bool:
    """Return whether Redis is behind the store. ``latest`` must have been read before ``live``."""
    return int(latest["seq"]) > live.seq and int(latest["life"]) >= live.life


def _unstored(books: Mapping[str, Order], known: list[Order]) -> Iterator[Order]:
    """Return orders whose results reached Redis but not the store, reset to PENDING so that S4 is asked again."""
    for order in known:
        stored = books.get(order.client_order_id)
        if stored is None:
            yield replace(order, status="PENDING", filled=ZERO, avg_price=ZERO, fee=ZERO)
        elif order.filled > stored.filled and not stored.live:
            yield replace(stored, status="PENDING")


def _share(p: Position) -> list[QuotaMove]:
    """Return what the position had taken of counters that may be lost with it; applied once in a counter's life."""
    move = f"{p.position_id}:{p.life_name}:rebuilt"
    return [
        QuotaMove(move, keys.budget(p.market), p.reserved_margin, restores=True),
        QuotaMove(move, keys.concurrency(p.market), ZERO + 1, restores=True),
    ]


def _moves(before: Position | None, after: Position, order: Order) -> list[QuotaMove]:
    """Return how the result of an order moved the quotas, under the ids that ``s6.booking`` gave those moves: a counter
    that has applied them stays as it is."""
    p = after
    same_life = before is not None and before.life == p.life
    moves: list[QuotaMove] = []
    if order.kind == "ADD":
        with exactly():
            taken = p.reserved_margin - (before.reserved_margin if before is not None and same_life else ZERO)
        move = f"{p.position_id}:{p.life_name}:{order.client_order_id}:{order.filled}"
        if taken:
            moves.append(QuotaMove(move, keys.budget(p.market), taken))
        if not same_life:
            moves.append(QuotaMove(move, keys.concurrency(p.market), ZERO + 1))
    elif order.kind not in OPENING_KINDS and before is not None and before.is_open and same_life and not p.is_open:
        close = f"{p.position_id}:{p.life_name}:close"
        with exactly():
            moves.append(QuotaMove(close, keys.concurrency(p.market), ZERO - 1))
            moves.append(QuotaMove(close, keys.budget(p.market), -p.reserved_margin))
    return moves
