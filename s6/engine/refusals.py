"""The one policy of refusals and pauses. Pure.

- A stop refused with ``WOULD_TRIGGER`` is hit: exit at once.
- A stop refused otherwise: the old price at once (WARN STOP_REFUSED); refused again: exit, FATAL.
- A better price refused, the old one taken: the stop stands, asked for again after pauses (ERROR ORDER_REFUSED, once).
- A stop accepted and then ended by S4 itself: placed again, at once the first time, then after pauses; at
  ``retry.attempts`` in a row: exit, FATAL.
- Another order refused, or ended without a fill: after pauses (ERROR ORDER_REFUSED, once).
- ``NOTHING_LEFT`` while the books hold something: after 10 s, then every 60 s (ERROR POSITION_MISSING, once).
- A cancel refused while the old stop lives: after pauses (ERROR STOP_MOVE_FAILED from the third).
- No usable answer (5xx, 429, time-out, another 4xx on an order): the same ids after the back-off, never an exit; ERROR
  RETRIES_EXHAUSTED, once, and FATAL after ``retry.fatal_after_s`` for what protects (``transitions.postponed``).

Pauses double from ``retry.base_ms`` up to 60 s. *Once* is at the ``retry.attempts``-th time in a row.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from s6.engine.operation import ids
from s6.engine.step import Raised, Step, ended
from s6.model.bundle import Retry
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import ZERO, plain
from s6.model.waiting import LONGEST_MS

AWAITED_MS: Final = 10_000
"""How long a closing result is awaited after S4 has said ``NOTHING_LEFT``."""

MISSING: Final = "NOTHING_LEFT"


def pause_ms(failures: int, retry: Retry) -> int:
    """Return the pause after so many failures in a row: doubling from ``base_ms``, up to 60 s."""
    return min(LONGEST_MS, retry.base_ms << min(max(failures, 1) - 1, 20))


def order_refused(p: Position, op: Operation | None, kind: str, reason: str, retry: Retry, now: int) -> Step:
    """An order other than a stop was refused, or ended without a fill: it is asked for again after a pause."""
    if reason == MISSING:
        return _missing(p, op, now)
    closes = kind in ("EXIT", "GUARD")
    failures = (p.exit_refusals if closes else p.hold_refusals) + 1
    until = now + pause_ms(failures, retry)
    if closes:
        p = replace(p, exit_refusals=failures, exit_not_before=until)
    else:
        p = replace(p, hold_refusals=failures, hold_until=until)
    return Step(p, op, alerts=_once(failures, retry, f"{kind}: {reason}"))


def stop_refused(p: Position, op: Operation, reason: str, now: int) -> Step:
    """S4 did not accept the operation's stop: the operation ends, or goes on with the old price."""
    if reason == MISSING:
        step = _missing(p, op, now)
        return replace(step, op=None, outcome="refused", samples=ended(op, "refused"))
    step = _after_refused_stop(p, op.new_price, op.refusals + 1, reason)
    if step.outcome != "retried":
        return replace(step, samples=ended(op, step.outcome))
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


def accepted_stop_refused(p: Position, op: Operation | None, order: Order, reason: str, now: int) -> Step:
    """S4 refused a stop that it had accepted: what rested on it is taken back."""
    if reason == MISSING:
        return _missing(replace(p, sl_price=p.sl_fallback, sl_qty=ZERO), op, now)
    refusals = p.sl_refusals + 1
    step = _after_refused_stop(p, order.stop_px, refusals, reason)
    p = step.position
    if step.outcome != "would_trigger":
        p = replace(p, sl_refusals=refusals, sl_price=p.sl_fallback, sl_qty=ZERO)
    return replace(step, position=p, op=op, outcome="")


def stop_lost(p: Position, order: Order, retry: Retry, now: int) -> tuple[Position, tuple[Raised, ...]]:
    """S4 ended a stop that it had accepted, by its own will: once more at once, then after pauses, at last an exit.

    A stop that lived for a minute was no refusal: the count begins anew. Where S4 has said meanwhile that it holds
    nothing, its pause goes on.
    """
    losses = 1 if now - p.sl_ts > LONGEST_MS else p.sl_losses + 1
    pauses = [now + pause_ms(losses - 1, retry)] if losses > 1 else []
    p = replace(p, sl_losses=losses, sl_not_before=max([*pauses, p.sl_not_before if p.missing_ts else 0]))
    said = f"{order.client_order_id} was {order.status} by S4 itself, {losses} in a row"
    if losses >= retry.attempts and not p.exit_reason:
        p = replace(p, exit_reason="STOP_LOST")
        return p, (("FATAL", "STOP_MOVE_FAILED", f"{said}: closing at market"),)
    return p, (("WARN", "STOP_LOST", f"{said}: placed again"),)


def better_price_refused(p: Position, retry: Retry, now: int) -> tuple[Position, tuple[Raised, ...]]:
    """S4 took only the old price: the stop that stands is not cancelled for a better one until a pause is over."""
    failures = p.trail_refusals + 1
    p = replace(p, trail_refusals=failures, trail_not_before=now + pause_ms(failures, retry))
    return p, _once(failures, retry, "SL: a better price is refused, the old one stands")


def cancel_refused(p: Position, retry: Retry, now: int) -> tuple[Position, tuple[Raised, ...]]:
    """The old stop lives on and protects: it is not touched again until a pause is over."""
    failures = p.sl_failures + 1
    p = replace(p, sl_failures=failures, sl_not_before=now + pause_ms(failures, retry))
    if failures < 3:
        return p, ()
    return p, (("ERROR", "STOP_MOVE_FAILED", f"{failures} stop moves failed in a row; the old stop stays"),)


def _after_refused_stop(p: Position, price: Decimal | None, refusals: int, reason: str) -> Step:
    """Where a refused stop leads, ``refusals`` counting this one.

    Returns a step that has no operation yet; its outcome is ``retried`` when the old price is to be tried.
    """
    if reason == "WOULD_TRIGGER":
        return Step(replace(p, exit_reason="STOP_WOULD_TRIGGER"), None, "would_trigger")
    if refusals >= 2:
        text = f"two stops refused ({reason}): closing at market"
        fatal: tuple[Raised, ...] = (("FATAL", "STOP_MOVE_FAILED", text),)
        told = p.exit_reason == "STOP_REFUSED"  # the word on an earlier stop may come later
        return Step(replace(p, exit_reason="STOP_REFUSED"), None, "refused", alerts=() if told else fatal)
    text = f"stop at {plain(price) if price else '?'} refused ({reason}): the old price again"
    return Step(p, None, "retried", alerts=(("WARN", "STOP_REFUSED", text),))


def _missing(p: Position, op: Operation | None, now: int) -> Step:
    """S4 holds nothing to close while the books do: the result is on its way, or will never come."""
    since = min(p.missing_ts or now, now)  # the clock may have been set back since
    overdue = now - since >= AWAITED_MS
    until = now + (LONGEST_MS if overdue else AWAITED_MS)
    alerts: tuple[Raised, ...] = ()
    if overdue and not p.missing_told:
        text = f"S4 holds nothing of {plain(p.qty)} {p.symbol}; write it off if the exchange has closed it"
        alerts = (("ERROR", "POSITION_MISSING", text),)
    p = replace(
        p,
        missing_ts=since,
        missing_told=p.missing_told or overdue,
        exit_not_before=until,
        hold_until=until,
        sl_not_before=until,
    )
    return Step(p, op, alerts=alerts)


def _once(failures: int, retry: Retry, said: str) -> tuple[Raised, ...]:
    if failures != retry.attempts:
        return ()
    return (("ERROR", "ORDER_REFUSED", f"{said}; {failures} times in a row, asked for again after pauses"),)
