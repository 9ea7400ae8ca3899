"""What a booked result means for the operation in flight, and for the stop when none is. Pure."""

from __future__ import annotations

from dataclasses import replace

from s6.engine import transitions as to
from s6.engine.transitions import Step
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import TERMINAL, ZERO
from s6.model.wire import OrderResult
from s6.ports import Sample


def after_result(p: Position, op: Operation | None, order: Order, result: OrderResult, delay_ms: int, now: int) -> Step:
    """The operation after this result, and what the result alone changes about the stop."""
    step = _meaning(_held_off(p, order, delay_ms, now), op, order, result, delay_ms, now)
    if result.reason != "MAKER_TIMEOUT" or result.status not in TERMINAL:
        return step
    return replace(step, samples=(*step.samples, Sample("inc", "s6_maker_wait_timeout_total", 1)))


def _held_off(p: Position, order: Order, delay_ms: int, now: int) -> Position:
    """A market order of ours that ended without any fill is not sent anew in the same breath."""
    if not order.ours or order.type != "MARKET" or order.filled or order.status not in ("CANCELED", "EXPIRED"):
        return p
    if order.kind in ("EXIT", "GUARD"):
        return replace(p, exit_not_before=now + delay_ms)
    return replace(p, hold_until=now + delay_ms)


def _meaning(p: Position, op: Operation | None, order: Order, result: OrderResult, delay_ms: int, now: int) -> Step:
    if op is not None and op.kind != "CLEANUP" and not p.is_open:
        mine = order.client_order_id == op.client_order_id
        return to.closed_meanwhile(p, op, order if mine else p.order(op.client_order_id) or op.order, now)
    if op is not None and order.client_order_id == op.target and op.stage != "PLACE":
        return _old_one(p, op, order, result, now)
    if op is not None and op.order is not None and order.client_order_id == op.order.client_order_id:
        if order.status == "REJECTED" and op.stage == "PLACE":
            return to.refused(p, op, result.reason or "REJECTED", delay_ms, now)
        return Step(p, op)
    if order.ours and order.status == "REJECTED" and result.status == "REJECTED":
        return _rejected_afterwards(p, op, order, result, delay_ms, now)
    if order.status == "NEW" and order.client_order_id == p.sl_order and p.sl_refusals:
        p = replace(p, sl_refusals=0)
    return Step(p, op)


def _old_one(p: Position, op: Operation, order: Order, result: OrderResult, now: int) -> Step:
    if order.status == "FILLED":
        return to.old_one_filled(p, op)
    if not order.live:
        return to.old_one_gone(p, op, now)
    if result.status == "CANCEL_REJECTED":
        return to.unclear(p, op)
    return Step(p, op)


def _rejected_afterwards(
    p: Position, op: Operation | None, order: Order, result: OrderResult, delay_ms: int, now: int
) -> Step:
    """An order S4 had accepted was refused after all: what rested on it is taken back."""
    if order.kind == "SL" and p.is_open and order.stop_px == p.sl_price and not p.sl_order:
        if result.reason == "WOULD_TRIGGER":
            return Step(replace(p, exiting="STOP_WOULD_TRIGGER"), op)
        refusals = p.sl_refusals + 1
        p = replace(p, sl_refusals=refusals, sl_price=p.sl_fallback, sl_qty=ZERO)
        if refusals >= 2:
            text = f"two stops refused ({result.reason}): closing at market"
            return Step(replace(p, exiting="STOP_REFUSED"), op, alerts=(("FATAL", "STOP_MOVE_FAILED", text),))
        return Step(p, op, alerts=(("WARN", "STOP_REFUSED", f"{result.reason}: the old price again"),))
    if order.kind in ("EXIT", "GUARD"):
        p = replace(p, exit_not_before=now + delay_ms)
        return Step(p, op, alerts=(("ERROR", "EXIT_REFUSED", result.reason),))
    return Step(
        replace(p, hold_until=now + delay_ms), op, alerts=(("WARN", "ORDER_REFUSED", f"{order.kind}: {result.reason}"),)
    )
