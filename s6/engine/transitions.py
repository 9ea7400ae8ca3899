"""What each answer of S4 means for an operation. Pure: from a position and its operation to a ``Step``.

The table of CONTRACT §3 for STOP_MOVE stands here, one function a row. ``after_result`` draws the same conclusions from
the results' stream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from s6.engine.operation import ids
from s6.model.commit import Sample
from s6.model.documents import event
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import TERMINAL, ZERO, Severity, plain
from s6.model.wire import OrderResult


@dataclass(frozen=True, slots=True)
class Step:
    """A position and its operation after a step. ``op`` None: it has ended, ``outcome`` says how."""

    position: Position
    op: Operation | None
    outcome: str = ""
    orders: tuple[Order, ...] = ()
    events: tuple[dict[str, str], ...] = ()
    alerts: tuple[tuple[Severity, str, str], ...] = ()
    samples: tuple[Sample, ...] = ()


def cancel_pending(p: Position, op: Operation, wait_ms: int, now: int) -> Step:
    """S4 took the cancel: wait ``wait_ms`` for its outcome, then ask."""
    return Step(p, replace(op, stage="AWAIT_CANCEL", deadline=now + wait_ms, attempts=0, not_before=0))


def unclear(p: Position, op: Operation) -> Step:
    """The old order's outcome is not clear: ask S4."""
    return Step(p, replace(op, stage="CHECK", not_before=0))


def cancel_confirmed(p: Position, op: Operation, now: int) -> Step:
    """The old order is no longer live: place the new one (STOP_MOVE), or end (CLEANUP)."""
    rest = tuple(o for o in p.orders if o.client_order_id != op.target)
    p = replace(p, orders=rest)
    if p.sl_order == op.target:
        p = replace(p, sl_order="", sl_qty=p.sl_qty * 0)
    if op.kind == "CLEANUP":
        return Step(p, None, "success")
    if not p.is_open:
        return Step(p, None, "closed")
    return Step(p, replace(op, stage="PLACE", unprotected_ts=op.unprotected_ts or now, attempts=0, not_before=0))


def cancel_lost_to_fill(p: Position, op: Operation) -> Step:
    """The old order filled before the cancel: place no new stop, since nothing is left to protect."""
    return Step(p, None, "filled_instead", samples=_ended(op, "filled_instead"))


def cancel_failed(p: Position, op: Operation, delay_ms: int, now: int) -> Step:
    """S4 did not cancel: the old stop stays and protects, and the move is tried again after ``delay_ms``."""
    failures = p.sl_failures + 1
    p = replace(p, sl_failures=failures, sl_not_before=now + delay_ms)
    return Step(p, None, "kept", alerts=_failing(failures), samples=_ended(op, "kept"))


def _failing(failures: int) -> tuple[tuple[Severity, str, str], ...]:
    if failures < 3:
        return ()
    return (("ERROR", "STOP_MOVE_FAILED", f"{failures} stop moves failed in a row; the old stop stays"),)


def position_closed(p: Position, op: Operation, known: Order | None, now: int) -> Step:
    """The position closed during this operation. End it and leave resting orders to CLEANUP; but a PENDING stop may
    have reached S4, so wait until S4 confirms.

    ``known`` is the operation's order as the results have left it: a result may show its acceptance before S4 answers.
    """
    if op.kind == "STOP_MOVE" and known is not None and known.status == "PENDING":
        return Step(p, op)
    if op.kind == "STOP_MOVE" and known is not None and known.status != "REJECTED":
        return accepted_after_close(p, op, known, now)
    return Step(p, None, "closed", samples=_ended(op, "filled_instead") if op.target else ())


def accepted_after_close(p: Position, op: Operation, known: Order, now: int) -> Step:
    """S4 accepted a stop for a life that is over: publish the move like any other, and leave the stop to CLEANUP."""
    order = replace(known, status="NEW") if known.status == "PENDING" else known
    shown = replace(p, sl_price=order.stop_px, sl_level=max(p.sl_level, op.level), sl_qty=order.qty)
    moved = stop_event(shown, op, order.client_order_id, now)
    if not p.is_open:
        p = replace(p, sl_price=shown.sl_price, sl_level=shown.sl_level)
    p = replace(p, orders=p.with_order(order))
    samples = _ended(op, "filled_instead") if op.target else ()
    return Step(p, None, "closed", (order,), events=(moved,), samples=samples)


def nothing_left(p: Position, op: Operation) -> Step:
    """Nothing is left to send an order for: end the operation."""
    return Step(p, None, "nothing_left", samples=_ended(op, "nothing_left"))


def frozen(p: Position, op: Operation, order: Order) -> Step:
    """Record the order as it will be sent, before it is sent."""
    return Step(replace(p, orders=p.with_order(order)), replace(op, order=order), orders=(order,))


def accepted(p: Position, op: Operation, known: Order, delay_ms: int, now: int) -> Step:
    """S4 accepted the order. ``known`` is the order as the results have left it, perhaps filled already.

    ``delay_ms`` is how long the old price stays in force when S4 has refused the new one.
    """
    order = replace(known, status="NEW") if known.status == "PENDING" else known
    in_vain = not order.live and not order.filled
    p = replace(p, orders=p.with_order(order), hold_until=p.hold_until if in_vain else 0)
    outcome = "reverted" if op.refusals and op.old_price else "success"
    samples = (
        *_ended(op, outcome),
        Sample("observe", "s6_exec_seconds", (now - op.started_ts) / 1000, {"kind": op.kind}),
    )
    if op.kind != "STOP_MOVE":
        return Step(p, None, "success", (order,), samples=samples)
    if op.unprotected_ts:
        samples += (Sample("observe", "s6_unprotected_seconds", (now - op.unprotected_ts) / 1000),)
    fallback = p.sl_price
    reverted = outcome == "reverted"
    p = replace(
        p,
        sl_price=order.stop_px,
        sl_fallback=fallback,
        sl_level=max(p.sl_level, op.level),
        sl_qty=order.qty if order.live else order.qty * 0,
        sl_order=order.client_order_id if order.live else "",
        sl_ts=now,
        sl_refusals=op.refusals if known.status == "PENDING" else 0,  # until NEW is heard: it may be REJECTED yet
        sl_failures=p.sl_failures + 1 if reverted else 0,
        sl_not_before=now + delay_ms if reverted else 0,
        self_guarded=False,
    )
    moved = stop_event(replace(p, sl_qty=order.qty), op, order.client_order_id, now)
    alerts = _failing(p.sl_failures)
    return Step(p, None, outcome, (order,), events=(moved,), alerts=alerts, samples=samples)


def stop_event(p: Position, op: Operation, part: str, now: int) -> dict[str, str]:
    """Return the STOP_MOVE event. Its ``old`` is None for the first stop of a life."""
    data = {"old": op.old_price, "new": p.sl_price, "level": p.sl_level, "qty": p.sl_qty or p.qty, "why": op.reason}
    return event(p, "STOP_MOVE", part, now, p.sl_qty or p.qty, p.sl_price, op.reason, data)


def postponed(p: Position, op: Operation, delay_ms: int, limit: int, why: str, now: int) -> Step:
    """S4 gave no usable answer: try again after ``delay_ms`` with the same ids. Protection is never given up."""
    attempts = op.attempts + 1
    alerts: tuple[tuple[Severity, str, str], ...] = ()
    if attempts == limit:
        alerts = (("ERROR", "RETRIES_EXHAUSTED", f"{op.kind} {op.stage}: {attempts} attempts, last: {why}; going on"),)
    return Step(p, replace(op, attempts=attempts, not_before=now + delay_ms), alerts=alerts)


def abandoned(p: Position, op: Operation) -> Step:
    """S4 never saw the order and its moment has passed: end, and let the next plan decide."""
    orders: tuple[Order, ...] = ()
    if op.order is not None:
        expired = replace(op.order, status="EXPIRED")
        orders = (expired,)
        p = replace(p, orders=p.with_order(expired))
    return Step(p, None, "abandoned", orders=orders, samples=_ended(op, "abandoned"))


def refused(p: Position, op: Operation, reason: str, delay_ms: int, now: int) -> Step:
    """S4 refused the new order, by 422 or by REJECTED on the stream."""
    orders: tuple[Order, ...] = ()
    if op.order is not None:
        dead = replace(op.order, status="REJECTED")
        orders = (dead,)
        p = replace(p, orders=p.with_order(dead))
    if op.kind == "STOP_MOVE" and op.order is not None and not p.is_current(op.order):
        return Step(p, None, "closed", orders=orders, samples=_ended(op, "refused"))
    if op.kind == "STOP_MOVE":
        return replace(_new_stop_refused(p, op, reason), orders=orders)
    samples = _ended(op, "refused")
    alert: tuple[Severity, str, str] = ("WARN", "ORDER_REFUSED", f"{op.kind}: {reason}")
    if op.kind == "EXIT":
        p = replace(p, exit_not_before=now + delay_ms)
        alert = ("ERROR", "EXIT_REFUSED", f"{op.reason}: {reason}; tried again in {delay_ms} ms")
    else:
        p = replace(p, hold_until=now + delay_ms)
    return Step(p, None, "refused", orders=orders, alerts=(alert,), samples=samples)


def _after_refused_stop(p: Position, price: Decimal | None, refusals: int, reason: str) -> Step:
    """What S4's refusal of a stop leads to: ``WOULD_TRIGGER`` and the second refusal in a row to an exit, the first to
    another stop at the old price. ``refusals`` counts this one.

    Returns a step that has no operation yet; its outcome is ``retried`` when the old price is to be tried.
    """
    if reason == "WOULD_TRIGGER":
        return Step(replace(p, exit_reason="STOP_WOULD_TRIGGER"), None, "would_trigger")
    if refusals >= 2:
        text = f"two stops refused ({reason}): closing at market"
        fatal: tuple[Severity, str, str] = ("FATAL", "STOP_MOVE_FAILED", text)
        return Step(replace(p, exit_reason="STOP_REFUSED"), None, "refused", alerts=(fatal,))
    text = f"stop at {plain(price) if price else '?'} refused ({reason}): the old price again"
    return Step(p, None, "retried", alerts=(("WARN", "STOP_REFUSED", text),))


def _new_stop_refused(p: Position, op: Operation, reason: str) -> Step:
    """S4 did not accept the operation's stop: the operation ends, or goes on with the old price."""
    step = _after_refused_stop(p, op.new_price, op.refusals + 1, reason)
    if step.outcome != "retried":
        return replace(step, samples=_ended(op, step.outcome))
    number = p.op_count + 1
    intent, client_order_id = ids(p, number, "SL")
    again = replace(
        op,
        intent=intent,
        client_order_id=client_order_id,
        new_price=op.old_price or op.new_price,
        level=p.sl_level if op.old_price else op.level,
        order=None,
        refusals=op.refusals + 1,
        attempts=0,
        not_before=0,
    )
    return replace(step, position=replace(p, op_count=number), op=again, outcome="")


def _ended(op: Operation, outcome: str) -> tuple[Sample, ...]:
    name = {"STOP_MOVE": "s6_stop_move_total", "TP_PARTIAL": "s6_tp_partial_total"}.get(op.kind)
    return (Sample("inc", name, 1, {"outcome": outcome}),) if name else ()


def after_result(p: Position, op: Operation | None, order: Order, result: OrderResult, delay_ms: int, now: int) -> Step:
    """Return the operation after this result, and what the result alone changes about the stop."""
    step = _after(_hold_off(p, order, delay_ms, now), op, order, result, delay_ms, now)
    if result.reason != "MAKER_TIMEOUT" or result.status not in TERMINAL:
        return step
    return replace(step, samples=(*step.samples, Sample("inc", "s6_maker_wait_timeout_total", 1)))


def _hold_off(p: Position, order: Order, delay_ms: int, now: int) -> Position:
    """Delay the next order when a market order of ours ended without any fill."""
    if not order.ours or order.type != "MARKET" or order.filled or order.status not in ("CANCELED", "EXPIRED"):
        return p
    if order.kind in ("EXIT", "GUARD"):
        return replace(p, exit_not_before=now + delay_ms)
    return replace(p, hold_until=now + delay_ms)


def _after(p: Position, op: Operation | None, order: Order, result: OrderResult, delay_ms: int, now: int) -> Step:
    if op is not None and op.kind != "CLEANUP" and not p.is_open:
        mine = order.client_order_id == op.client_order_id
        return position_closed(p, op, order if mine else p.order(op.client_order_id) or op.order, now)
    if op is not None and order.client_order_id == op.target and op.stage != "PLACE":
        return _target_result(p, op, order, result, now)
    if op is not None and op.order is not None and order.client_order_id == op.order.client_order_id:
        if order.status == "REJECTED" and op.stage == "PLACE":
            return refused(p, op, result.reason or "REJECTED", delay_ms, now)
        return Step(p, op)
    if order.ours and order.status == "REJECTED" and result.status == "REJECTED":
        return _rejected_afterwards(p, op, order, result, delay_ms, now)
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
    p: Position, op: Operation | None, order: Order, result: OrderResult, delay_ms: int, now: int
) -> Step:
    """S4 refused an order that it had accepted: take back what relied on it."""
    if order.kind == "SL" and p.is_open and order.stop_px == p.sl_price and not p.sl_order:
        refusals = p.sl_refusals + 1
        step = _after_refused_stop(p, order.stop_px, refusals, result.reason)
        p = step.position
        if step.outcome != "would_trigger":
            p = replace(p, sl_refusals=refusals, sl_price=p.sl_fallback, sl_qty=ZERO)
        return replace(step, position=p, op=op, outcome="")
    if order.kind in ("EXIT", "GUARD"):
        p = replace(p, exit_not_before=now + delay_ms)
        return Step(p, op, alerts=(("ERROR", "EXIT_REFUSED", result.reason),))
    return Step(
        replace(p, hold_until=now + delay_ms), op, alerts=(("WARN", "ORDER_REFUSED", f"{order.kind}: {result.reason}"),)
    )
