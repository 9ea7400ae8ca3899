"""Orders of ours that nobody wrote down, or whose record was lost, known by their ids. Pure.

An order's id follows from its decision's place in the position's history and from nothing else. So an order that bears
one is ours, whatever the books say; and where one was forgotten there may be more, so the position is unverified from
there. Why it was sent is lost: a TP is taken for the next rung, an ADD for the signal that stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from s6.booking import unheard_of
from s6.engine.operation import ORDER_PREFIXES, ids
from s6.model import jsonx
from s6.model.operation import AHEAD, Operation
from s6.model.position import Order, Position
from s6.model.types import Market
from s6.model.wire import OrderResult

DIGITS: Final = 24
PURPOSES: Final[dict[Market, tuple[str, ...]]] = {"FUT": ORDER_PREFIXES, "SPOT": ("TP", "EX")}
"""What orders of each market may be for."""


class OrderSlot(NamedTuple):
    """Where in a position's history an order was decided on, and the ids it has for that."""

    life: int
    number: int
    intent_id: str
    client_order_id: str


def lives_of(p: Position) -> tuple[int, ...]:
    """The lives that forgotten orders may be of: one that ended while the position was unverified counts."""
    return (p.life - 1, p.life) if p.life > 1 and p.entry_ts >= p.rebuilt_ts else (p.life,)


def places(p: Position, life: int, number: int) -> Iterator[OrderSlot]:
    """Every order that this operation may have sent."""
    for purpose in PURPOSES[p.market]:
        yield OrderSlot(life, number, *ids(replace(p, life=life), number, purpose))


def place_of(p: Position, client_order_id: str) -> OrderSlot | None:
    """Where an order of that id was decided on; None: it isn't ours, or too far from anything we know of."""
    purpose, _, digest = client_order_id.partition("-")
    if purpose not in ORDER_PREFIXES or len(digest) != DIGITS:
        return None
    lowest = max(1, min(p.unverified_from or p.op_count, p.op_count - 2 * AHEAD))
    for life in range(p.life, max(p.life - 2, 0), -1):
        then = replace(p, life=life)
        for number in range(p.op_count + AHEAD, lowest - 1, -1):
            place = OrderSlot(life, number, *ids(then, number, purpose))
            if place.client_order_id == client_order_id:
                return place
    return None


def recognised(
    p: Position, op: Operation | None, result: OrderResult, signal_id: str
) -> tuple[Position, Operation | None, Order | None]:
    """Position, operation and order before this result, where nobody knows the order; without one when it isn't ours.

    ``signal_id`` is the signal that stands.
    """
    if op is not None and op.client_order_id == result.client_order_id:
        life = int(op.op_id.partition("-")[0])
        order = replace(unheard_of(result, op.intent, life, ours=True), rungs=op.rungs, signal_id=op.signal_id)
        order = replace(order, stop_px=op.new_price if op.kind == "STOP_MOVE" else None)
        return p, replace(op, stage="PLACE", order=order), order
    place = place_of(p, result.client_order_id)
    if place is None:
        return p, op, None
    p = replace(p, unverified_from=min(p.unverified_from or place.number, place.number))
    p, order = _explained(p, unheard_of(result, place.intent_id, place.life, ours=True), signal_id)
    return p, op, order


def claimed(p: Position, known: Order, place: OrderSlot, signal_id: str) -> tuple[Position, Order]:
    """The position and the order, where its results came first and it was taken for somebody else's."""
    p, order = _explained(p, replace(known, intent_id=place.intent_id, life=place.life, ours=True), signal_id)
    if order.filled:
        p = replace(p, tp_done=tuple(sorted({*p.tp_done, *order.rungs})))
    return replace(p, orders=p.with_order(order)), order


def _explained(p: Position, order: Order, signal_id: str) -> tuple[Position, Order]:
    if order.kind == "TP":
        return p, replace(order, rungs=_next_rung(p))
    if order.kind == "ADD" and signal_id:
        return p.with_signal(signal_id), replace(order, signal_id=signal_id)
    return p, order


def _next_rung(p: Position) -> tuple[int, ...]:
    ladder = jsonx.loads(p.ladder) if p.ladder else []
    return tuple(index for index in range(len(ladder)) if index not in p.tp_done)[:1]
