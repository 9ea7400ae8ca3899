"""What each answer of S4 means for an operation. Pure: from a position and its operation to a ``Step``.

The table of CONTRACT §3 for STOP_MOVE stands here, one function a row; ``after_result`` reads the same words off the
results' stream. What refusals lead to stands in ``refusals``.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from s6.engine import refusals
from s6.engine.refusals import order_refused
from s6.engine.step import Raised, Step, ended
from s6.model.bundle import Retry
from s6.model.commit import Sample
from s6.model.documents import event
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import TERMINAL, UNHEARD, ZERO
from s6.model.wire import OrderResult


def cancel_pending(p: Position, op: Operation, wait_ms: int, now: int) -> Step:
    """S4 has taken the cancel: its outcome is awaited, and may come after the wait is over."""
    awaited = replace(op, stage="AWAIT_CANCEL", deadline=now + wait_ms, attempts=0, failing_ts=0, not_before=0)
    old = p.order(op.target)
    return Step(p, awaited) if old is None else _marked(Step(p, awaited), old, cancelling=True)


def _marked(step: Step, order: Order, *, cancelling: bool) -> Step:
    """The step with a live order marked as being cancelled, or as not."""
    orders = step.position.with_order(replace(order, cancelling=cancelling))
    return replace(step, position=replace(step.position, orders=orders))


def unclear(p: Position, op: Operation) -> Step:
    """The old order's outcome is not clear: ask S4."""
    return Step(p, replace(op, stage="CHECK", not_before=0))


def cancel_confirmed(p: Position, op: Operation, now: int) -> Step:
    """The old order is no longer live: place the new one (STOP_MOVE), or end (CLEANUP)."""
    rest = tuple(o for o in p.orders if o.client_order_id != op.target)
    p = replace(p, orders=rest)
    if p.sl_order == op.target:
        p = replace(p, sl_order="", sl_qty=ZERO)
    if op.kind == "CLEANUP":
        return Step(p, None, "success")
    if not p.is_open:
        return Step(p, None, "closed")
    return Step(p, replace(op, stage="PLACE", attempts=0, failing_ts=0, not_before=0))


def cancel_lost_to_fill(p: Position, op: Operation) -> Step:
    """The fill won the race: no new stop for what is gone."""
    return Step(p, None, "filled_instead", samples=ended(op, "filled_instead"))


def cancel_failed(p: Position, op: Operation, retry: Retry, now: int) -> Step:
    """The cancel did not take: the old stop protects on, and the move is tried again later."""
    p, alerts = refusals.cancel_refused(p, retry, now)
    return Step(p, None, "kept", alerts=alerts, samples=ended(op, "kept"))


def position_closed(p: Position, op: Operation, known: Order | None, now: int) -> Step:
    """The position closed during this operation. End it and leave resting orders to CLEANUP; but a PENDING stop may
    have reached S4, so wait until S4 confirms; so may a stop of which only the record was lost.

    ``known`` is the operation's order as the results have left it: a result may show its acceptance before S4 answers.
    """
    waits = known.status == "PENDING" if known is not None else p.unverified_from > 0
    if op.kind == "STOP_MOVE" and waits:
        return Step(p, op)
    if op.kind == "STOP_MOVE" and known is not None and known.status != "REJECTED":
        return accepted_after_close(p, op, known, now)
    return Step(p, None, "closed", samples=ended(op, "filled_instead") if op.target else ())


def accepted_after_close(p: Position, op: Operation, known: Order, now: int) -> Step:
    """S4 accepted a stop for a life that is over: publish the move like any other, and leave the stop to CLEANUP."""
    order = replace(known, status="NEW") if known.status == "PENDING" else known
    shown = replace(p, sl_price=order.stop_px, sl_level=max(p.sl_level, op.level), sl_qty=order.qty)
    moved = stop_event(shown, op, order.client_order_id, now)
    if not p.is_open:
        p = replace(p, sl_price=shown.sl_price, sl_level=shown.sl_level)
    p = replace(p, orders=p.with_order(order))
    samples = ended(op, "filled_instead") if op.target else ()
    return Step(p, None, "closed", (order,), events=(moved,), samples=samples)


def nothing_left(p: Position, op: Operation) -> Step:
    return Step(p, None, "nothing_left", samples=ended(op, "nothing_left"))


def frozen(p: Position, op: Operation, order: Order) -> Step:
    """Record the order as it will be sent, before it is sent."""
    return Step(replace(p, orders=p.with_order(order)), replace(op, order=order), orders=(order,))


def accepted(p: Position, op: Operation, known: Order, retry: Retry, now: int) -> Step:
    """S4 answered 200. ``known`` is the order as the results have left it, maybe ended already."""
    order = replace(known, status="NEW") if known.status == "PENDING" else known
    samples = (Sample("observe", "s6_exec_seconds", max(now - op.started_ts, 0) / 1000, {"kind": op.kind}),)
    if op.kind == "STOP_MOVE":
        return _stop_accepted(p, op, known, order, samples, retry, now)
    unfilled = not order.live and not order.filled
    partial = not order.live and ZERO < order.filled < order.qty
    p = replace(p, orders=p.with_order(order), hold_until=p.hold_until if unfilled else 0)
    outcome = "partial" if partial else "success"
    return Step(p, None, outcome, (order,), samples=(*ended(op, outcome), *samples))


def _stop_accepted(
    p: Position, op: Operation, known: Order, order: Order, samples: tuple[Sample, ...], retry: Retry, now: int
) -> Step:
    reverted = bool(op.refusals and op.old_price)
    outcome = "reverted" if reverted else "success"
    lost = order.status in ("CANCELED", "EXPIRED") and not order.filled
    alerts: tuple[Raised, ...] = ()
    before = p
    p = replace(
        p,
        orders=p.with_order(order),
        sl_price=order.stop_px,
        sl_fallback=before.sl_price,
        sl_level=max(p.sl_level, op.level),
        sl_qty=order.qty if order.live else ZERO,
        sl_order=order.client_order_id if order.live else "",
        sl_ts=max(now, before.ts),  # by the clock that is ahead: how long a stop has lived is never overrated
        sl_refusals=op.refusals if known.status == "PENDING" else 0,  # until NEW is heard: it may be REJECTED yet
        sl_failures=0,
        sl_not_before=0,
        self_guarded=False,
    )
    if reverted:
        p, alerts = refusals.better_price_refused(p, retry, now)
    elif op.new_price != op.old_price:
        p = replace(p, trail_refusals=0, trail_not_before=0)
    moved = stop_event(replace(p, sl_qty=order.qty), op, order.client_order_id, now)
    if lost:
        p, more = refusals.stop_lost(replace(p, sl_ts=max(before.sl_ts, p.entry_ts)), order, retry, now)
        p, alerts = replace(p, sl_ts=max(now, before.ts)), (*alerts, *more)
    return Step(p, None, outcome, (order,), (moved,), alerts, (*ended(op, outcome), *samples))


def stop_event(p: Position, op: Operation, part: str, now: int) -> dict[str, str]:
    """Return the STOP_MOVE event. Its ``old`` is None for the first stop of a life."""
    return _moved(p, op.old_price, op.reason, part, now)


def _moved(p: Position, old: Decimal | None, why: str, part: str, now: int) -> dict[str, str]:
    data = {"old": old, "new": p.sl_price, "level": p.sl_level, "qty": p.sl_qty or p.qty, "why": why}
    return event(p, "STOP_MOVE", part, now, p.sl_qty or p.qty, p.sl_price, why, data)


def postponed(p: Position, op: Operation, delay_ms: int, alerts: tuple[Raised, ...], retry: Retry, now: int) -> Step:
    """No usable answer: the same again later, with the same ids. Protection is never given up."""
    since = min(op.failing_ts or now, now)  # the clock may have been set back since
    op = replace(op, attempts=op.attempts + 1, failing_ts=since, not_before=now + delay_ms)
    failed_ms = now - op.failing_ts
    text = f"{op.kind} {op.stage} has had no usable answer for {failed_ms} ms, {op.attempts} tries; going on"
    if op.attempts == retry.attempts:
        alerts = (*alerts, ("ERROR", "RETRIES_EXHAUSTED", text))
    if op.protects and failed_ms >= retry.fatal_after_ms and not op.fatal:
        op, alerts = replace(op, fatal=True), (*alerts, ("FATAL", "RETRIES_EXHAUSTED", text))
    return Step(p, op, alerts=alerts)


def superseded(p: Position, op: Operation) -> Step:
    """Something more urgent takes the operation's place, and S4 does not say whether it has the order.

    The order stays PENDING: S4 is asked about it until it answers.
    """
    return Step(p, None, "superseded", samples=ended(op, "superseded"))


def abandoned(p: Position, op: Operation) -> Step:
    """S4 has no such order, and it is no longer to be made: the next plan decides afresh.

    Should its request reach S4 late, S4's word takes the place of ``ABANDONED``.
    """
    rest = tuple(o for o in p.orders if o.client_order_id != op.client_order_id)
    gone = () if op.order is None else (replace(op.order, status="ABANDONED"),)
    return Step(replace(p, orders=rest), None, "abandoned", orders=gone, samples=ended(op, "abandoned"))


def refused(p: Position, op: Operation, reason: str, retry: Retry, now: int) -> Step:
    """S4 refused the new order, by 422 or by REJECTED on the stream."""
    orders: tuple[Order, ...] = ()
    if op.order is not None:
        dead = replace(op.order, status="REJECTED")
        orders = (dead,)
        p = replace(p, orders=p.with_order(dead))
    if op.kind == "STOP_MOVE":
        if op.order is not None and not p.is_current(op.order):
            return Step(p, None, "closed", orders=orders, samples=ended(op, "refused"))
        return replace(refusals.stop_refused(p, op, reason, now), orders=orders)
    kind = op.order.kind if op.order is not None else op.kind
    step = order_refused(p, None, kind, reason, retry, now)
    return replace(step, outcome="refused", orders=orders, samples=ended(op, "refused"))


def after_result(
    p: Position,
    op: Operation | None,
    order: Order,
    result: OrderResult,
    retry: Retry,
    now: int,
    *,
    unanswered: bool = False,
) -> Step:
    """The operation after this result, and what the result alone changes about the stop and the pauses.

    ``unanswered``: S4 had said nothing about the order before.
    """
    step = _meaning(p, op, order, result, retry, now)
    if unanswered and (op is None or op.client_order_id != order.client_order_id):
        step = _answered_late(step, op, order, now)
    if not order.live and result.status in ("CANCELED", "EXPIRED") and result.status == order.status:
        step = _ended_unfilled(step, op, order, result, retry, now)
    if order.cancelling and result.status == "CANCEL_REJECTED":
        step = _marked(step, order, cancelling=False)
    if result.reason == "MAKER_TIMEOUT" and result.status in TERMINAL:
        step = replace(step, samples=(*step.samples, Sample("inc", "s6_maker_wait_timeout_total", 1)))
    return step


def _answered_late(step: Step, op: Operation | None, order: Order, now: int) -> Step:
    """S4 has taken a stop whose operation had ended before S4 answered: publish the move, and keep its price.

    It becomes the position's stop where there is no other; else CLEANUP cancels it.
    """
    p = step.position
    if order.kind != "SL" or order.stop_px is None or order.status in (*UNHEARD, "REJECTED"):
        return step
    shown = replace(p, life=order.life, sl_price=order.stop_px, sl_qty=order.qty)
    step = replace(step, events=(*step.events, _moved(shown, p.sl_price, "FOUND", order.client_order_id, now)))
    if not p.is_current(order) or (p.sl_price is not None and (order.stop_px - p.sl_price) * p.dir < 0):
        return step
    replaced = op is not None and (op.kind == "STOP_MOVE" or op.target == order.client_order_id)
    if order.live and p.live_stop is None and not p.self_guarded and not replaced:
        p = replace(p, sl_order=order.client_order_id, sl_qty=order.qty, sl_ts=now, sl_fallback=p.sl_price)
    return replace(step, position=replace(p, sl_price=order.stop_px))


def _meaning(p: Position, op: Operation | None, order: Order, result: OrderResult, retry: Retry, now: int) -> Step:
    if op is not None and op.kind != "CLEANUP" and not p.is_open:
        mine = order.client_order_id == op.client_order_id
        return position_closed(p, op, order if mine else p.order(op.client_order_id) or op.order, now)
    if op is not None and order.client_order_id == op.target and op.stage != "PLACE":
        return _target_result(p, op, order, result, now)
    if op is not None and op.order is not None and order.client_order_id == op.order.client_order_id:
        if order.status == "REJECTED" and op.stage == "PLACE":
            return refused(p, op, result.reason or "REJECTED", retry, now)
        return Step(p, op)
    if order.ours and order.status == "REJECTED" and result.status == "REJECTED":
        return _rejected_afterwards(p, op, order, result, retry, now)
    if order.status == "NEW" and order.client_order_id == p.sl_order and p.sl_refusals:
        p = replace(p, sl_refusals=0)
    return Step(p, op)


def _target_result(p: Position, op: Operation, order: Order, result: OrderResult, now: int) -> Step:
    if order.status == "FILLED":
        return cancel_lost_to_fill(p, op)
    if not order.live:
        return cancel_confirmed(p, op, now)
    if result.status == "CANCEL_REJECTED":
        return unclear(p, op)
    return Step(p, op)


def _rejected_afterwards(
    p: Position, op: Operation | None, order: Order, result: OrderResult, retry: Retry, now: int
) -> Step:
    """S4 refused an order that it had accepted."""
    if order.kind != "SL":
        return order_refused(p, op, order.kind, result.reason or "REJECTED", retry, now)
    if p.is_open and order.stop_px == p.sl_price and not p.sl_order:
        return refusals.accepted_stop_refused(p, op, order, result.reason, now)
    return Step(p, op)


def _ended_unfilled(
    step: Step, op: Operation | None, order: Order, result: OrderResult, retry: Retry, now: int
) -> Step:
    """S4 ended an order of ours by its own will: a stop is placed again, a market order is not sent in the same breath.

    A stop that we asked to cancel, or that has not been accepted yet, is the operation's affair; one whose cancel
    outlasted its operation is no loss.
    """
    p = step.position
    if not order.ours or not p.is_current(order):
        return step
    if order.kind == "SL":
        asked = op is not None and order.client_order_id in (op.target, op.client_order_id)
        if asked or p.sl_order or order.stop_px != p.sl_price:
            return step
        if order.cancelling and result.status == "CANCELED":  # late, after S4 had shown it as resting
            return replace(step, position=replace(p, sl_not_before=0))
        p, alerts = refusals.stop_lost(p, order, retry, now)
        return replace(step, position=p, alerts=(*step.alerts, *alerts))
    if order.filled or (op is not None and op.client_order_id == order.client_order_id):
        return step
    held = order_refused(p, step.op, order.kind, result.reason or result.status, retry, now)
    return replace(held, alerts=(*step.alerts, *held.alerts), samples=step.samples)
