"""Recognises orders of ours by their ids when nobody recorded them or the record was lost. Pure.

An order's id follows from its decision's slot in the position's history and from nothing else. So an order that bears
such an id is ours, whatever the books say; and where one record is missing there may be more, so the position is
unverified from there. Why it was sent is lost: a TP counts as the next rungs that its quantity fits best, an ADD as the
signal that stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from s6.booking import unheard_of
from s6.engine.operation import ORDER_PREFIXES, ids
from s6.model.operation import AHEAD, Operation
from s6.model.position import Order, Position
from s6.model.types import OPENING_KINDS, Market
from s6.model.wire import OrderResult
from s6.plan.scaling import rungs_fitting

DIGITS: Final = 24
PURPOSES: Final[dict[Market, tuple[str, ...]]] = {"FUT": ORDER_PREFIXES, "SPOT": ("TP", "EX")}
"""The purposes that orders of each market may have."""


def named(result: OrderResult, known: Order | None) -> OrderResult:
    """Return the result under the name by which the books know its order.

    S6's own orders are known by ``client_order_id``. Others are told apart by ``order_id`` where they have one, since
    an exchange may use one client id for many (an auto-deleveraging, say). ``known`` is the order that the books have
    under the result's ``client_order_id``.
    """
    if known is None:
        name = result.client_order_id or f"@{result.order_id}"
    elif known.ours or not result.order_id or known.order_id == result.order_id or (not known.order_id and known.live):
        return result
    else:
        name = f"{result.client_order_id}@{result.order_id}"
    return result.model_copy(update={"client_order_id": name})


def told_before(p: Position, orders: Iterable[Order], result: OrderResult) -> Order | None:
    """Return the order of others in this life that bears the result's ``order_id``, whatever its client id was.

    An ENTRY after a close begins the next life, so it is none of this one's.
    """
    if not result.order_id or (result.kind in OPENING_KINDS and not p.is_open):
        return None
    same = (result.order_id, result.side, p.life, False)
    return next((o for o in orders if (o.order_id, o.side, o.life, o.ours) == same), None)


class OrderSlot(NamedTuple):
    """A decision's slot in a position's history, and the ids that an order has for it."""

    life: int
    number: int
    intent_id: str
    client_order_id: str


def lives_of(p: Position) -> tuple[int, ...]:
    """Return the lives that unrecorded orders may belong to; one that ended while it was unverified is among them."""
    return (p.life - 1, p.life) if p.life > 1 and p.entry_ts >= p.rebuilt_ts else (p.life,)


def slots(p: Position, life: int, number: int) -> Iterator[OrderSlot]:
    """Return the slot of every order that this operation may have sent."""
    for purpose in PURPOSES[p.market]:
        yield OrderSlot(life, number, *ids(replace(p, life=life), number, purpose))


def slot_of(p: Position, client_order_id: str) -> OrderSlot | None:
    """Return the slot of an order's id, or None when it is not ours or too far from anything known."""
    purpose, _, digest = client_order_id.partition("-")
    if purpose not in ORDER_PREFIXES or len(digest) != DIGITS:
        return None
    lowest = max(1, min(p.unverified_from or p.op_count, p.op_count - 2 * AHEAD))
    for life in range(p.life, max(p.life - 2, 0), -1):
        then = replace(p, life=life)
        for number in range(p.op_count + AHEAD, lowest - 1, -1):
            slot = OrderSlot(life, number, *ids(then, number, purpose))
            if slot.client_order_id == client_order_id:
                return slot
    return None


def recognised(
    p: Position, op: Operation | None, result: OrderResult, signal_id: str
) -> tuple[Position, Operation | None, Order | None]:
    """Identify an unknown order by its id. ``signal_id`` is the signal that stands.

    Returns position, operation and order as before the result; order is None if it isn't ours.
    """
    if op is not None and op.client_order_id == result.client_order_id:
        life = int(op.op_id.partition("-")[0])
        order = replace(unheard_of(result, op.intent, life, ours=True), rungs=op.rungs, signal_id=op.signal_id)
        order = replace(order, stop_px=op.new_price if op.kind == "STOP_MOVE" else None)
        return p, replace(op, stage="PLACE", order=order), order
    slot = slot_of(p, result.client_order_id)
    if slot is None:
        return p, op, None
    p = replace(p, unverified_from=min(p.unverified_from or slot.number, slot.number))
    p, order = _explained(p, unheard_of(result, slot.intent_id, slot.life, ours=True), signal_id)
    return p, op, order


def claimed(p: Position, known: Order, slot: OrderSlot, signal_id: str) -> tuple[Position, Order]:
    """Return the position and the order as ours, where its results came first and it counted as somebody else's."""
    p, order = _explained(p, replace(known, intent_id=slot.intent_id, life=slot.life, ours=True), signal_id)
    if order.filled:
        p = replace(p, tp_done=tuple(sorted({*p.tp_done, *order.rungs})))
    return replace(p, orders=p.with_order(order)), order


def _explained(p: Position, order: Order, signal_id: str) -> tuple[Position, Order]:
    if order.kind == "TP":
        return p, replace(order, rungs=rungs_fitting(p, order))
    if order.kind == "ADD" and signal_id:
        return p.with_signal(signal_id), replace(order, signal_id=signal_id)
    return p, order
