"""Fills that close a position or a part of it: realized PnL, margin, rungs, reductions, dust."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from s6 import rules
from s6.booking.booking import Booking, SymbolTerms
from s6.booking.fills import Fill
from s6.booking.ladder import highest, rungs_done
from s6.model.position import Order, Position
from s6.model.types import ZERO
from s6.model.wire import OrderResult
from s6.rules.exact import exactly


def reduced(booking: Booking, fill: Fill, result: OrderResult, terms: SymbolTerms, now: int) -> Booking:
    """Return the booking with the fill taken off the position; what exceeds the holding is an OVERSELL."""
    p, order = booking.position, booking.order
    before, increment = p.qty, min(fill.qty, p.qty)
    warnings = booking.warnings
    if increment < fill.qty:
        text = f"{order.client_order_id}: {fill.qty} closed where {p.qty} was held"
        warnings = (*warnings, ("ERROR", "OVERSELL", text))
    if not increment:
        return replace(booking, warnings=warnings, increment=ZERO)
    p = _answered(_without(p, increment, fill.price))
    if order.kind == "TP":
        p = _rungs_taken(p, order)
    if order.kind == "REDUCE" and fill.filled == fill.qty:
        p = replace(p, reduces=p.reduces + 1, reduce_ts=now)
    closed = p.qty == 0 or _is_dust(p.qty, before, terms.step)
    if closed:
        p = replace(p, status="CLOSED", dust=p.qty, qty=ZERO, isolated_margin_usdt=ZERO, closed_ts=result.ts)
    return replace(booking, position=p, increment=increment, closed=closed, warnings=warnings)


def _answered(p: Position) -> Position:
    """The position after S4 has closed something of it: what it refused or held missing before is over."""
    if p.missing_ts:
        p = replace(p, missing_ts=0, missing_told=False, exit_not_before=0, hold_until=0, sl_not_before=0)
    return replace(p, exit_refusals=0, hold_refusals=0)


def _without(p: Position, qty: Decimal, price: Decimal) -> Position:
    margin = ZERO
    if p.isolated_margin_usdt > 0:
        margin = rules.margin_after_close(margin=p.isolated_margin_usdt, closed_qty=qty, qty=p.qty)
    with exactly():
        realized = p.realized_pnl_usdt + (price - p.entry_price_avg) * qty * p.dir
        return replace(p, qty=p.qty - qty, isolated_margin_usdt=margin, realized_pnl_usdt=realized)


def _is_dust(left: Decimal, before: Decimal, step: Decimal | None) -> bool:
    """Whether what is left counts as nothing. A step raised above what was held makes no dust of it."""
    return step is not None and left < step <= before


def _rungs_taken(p: Position, order: Order) -> Position:
    """The position with the order's rungs done, and every rung of the ladder in force that lies below them."""
    roe = order.rung_roe if order.rung_roe is not None else highest(p.ladder, order.rungs)
    if roe is None:
        return replace(p, tp_done=tuple(sorted({*p.tp_done, *order.rungs})))
    taken = roe if p.tp_roe is None else max(roe, p.tp_roe)
    done = {*p.tp_done, *rungs_done(p.ladder, taken)} if p.ladder else {*p.tp_done, *order.rungs}
    return replace(p, tp_roe=taken, tp_done=tuple(sorted(done)))
