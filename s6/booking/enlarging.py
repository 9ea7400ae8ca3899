"""Fills that open a position or add to it: entry price, margin, liquidation price, quotas."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from s6 import rules
from s6.booking.booking import Booking, SymbolTerms, Warned
from s6.booking.fills import Fill
from s6.keys import budget, concurrency
from s6.model.commit import QuotaMove
from s6.model.position import Position
from s6.model.types import ZERO
from s6.model.wire import OrderResult
from s6.rules.exact import exactly, quotient


def enlarged(booking: Booking, fill: Fill, result: OrderResult, terms: SymbolTerms, now: int) -> Booking:
    """Return the booking with the fill added to the position."""
    p = booking.position
    entry = _entry(p, fill)
    warnings: tuple[Warned, ...] = ()
    with exactly():
        qty = p.qty + fill.held
    if p.market == "SPOT":
        with exactly():
            taken = fill.qty * fill.price
            margin = p.isolated_margin_usdt + fill.cost
        p = replace(p, leverage=Decimal(1))
    else:
        p, margin, taken, warnings = _margin(p, fill, result, qty, entry)
        p = _liquidation(p, result, entry, qty, margin, terms)
    counts = result.kind == "ENTRY" or p.exit_reason == "ADD_AFTER_CLOSE"
    with exactly():
        p = replace(
            p,
            qty=qty,
            entry_price_avg=entry,
            isolated_margin_usdt=margin,
            reserved_margin=p.reserved_margin + taken,
            entry_ts=now,
            hold_refusals=0,
            q0=p.q0 + fill.held if counts else p.q0,
        )
    if result.kind == "ADD":
        p, quotas = _added(p, booking, fill, result, taken)
        booking = replace(booking, quotas=quotas)
    return replace(booking, position=p, warnings=(*booking.warnings, *warnings))


def charged_in_kind(p: Position, fee_qty: Decimal) -> Position:
    """Return the position after the exchange took so much of the holding as a fee told of late; the cost stays."""
    with exactly():
        qty = p.qty - fee_qty
        entry = quotient(p.entry_price_avg * p.qty, qty)
        return replace(p, qty=qty, entry_price_avg=entry, q0=max(p.q0 - fee_qty, ZERO))


def _entry(p: Position, fill: Fill) -> Decimal:
    """The weighted average, by the fill's exact cost; where that leaves nothing above 0, by its price."""
    with exactly():
        entry = quotient(p.entry_price_avg * p.qty + fill.cost, p.qty + fill.held)
        if entry > 0:
            return entry
        return quotient(p.entry_price_avg * p.qty + fill.price * fill.qty, p.qty + fill.held)


def _margin(
    p: Position, fill: Fill, result: OrderResult, qty: Decimal, entry: Decimal
) -> tuple[Position, Decimal, Decimal, tuple[Warned, ...]]:
    """The position with its leverage; its margin after the fill, what the fill took of it, and warnings.

    Figures of an older fill never replace those of a newer one, which counted this fill already. Where the newer one
    had none, the older one's margin is that of a part: it tells the leverage, and the margin of all follows from that.
    """
    was = p.leverage
    p, warnings = _leverage(p, fill, result, qty, entry)
    own = rules.initial_margin(qty=fill.qty, price=fill.price, leverage=p.leverage)
    told = result.isolated_margin_usdt
    with exactly():
        if result.ts < p.margin_ts:
            margin = p.isolated_margin_usdt
            taken = _taken(own, ZERO)
        elif result.ts < p.filled_ts and (told or p.leverage != was):
            margin = rules.initial_margin(qty=qty, price=entry, leverage=p.leverage)
            taken = margin - p.isolated_margin_usdt if result.kind == "ENTRY" else own
        else:
            margin = told or p.isolated_margin_usdt + own
            taken = _taken(own, margin - p.isolated_margin_usdt)
            p = replace(p, margin_ts=result.ts if told else p.margin_ts)
    return replace(p, filled_ts=max(p.filled_ts, result.ts)), margin, taken, warnings


def _taken(own: Decimal, by_figures: Decimal) -> Decimal:
    """The margin a fill took: by S4's figures where they differ, unless they differ by rounding alone, or by so much
    that they must know of a close which is yet to be heard of. Call it inside ``exactly``."""
    apart = abs(by_figures - own)
    return by_figures if own < apart * 1_000_000 and apart * 10 <= own else own


def _leverage(
    p: Position, fill: Fill, result: OrderResult, qty: Decimal, entry: Decimal
) -> tuple[Position, tuple[Warned, ...]]:
    """The position with the leverage that S4 tells, or has told; else what the margin implies; else what it was; else 1
    with a warning. A margin proves no other leverage: S4 may know of a close that is yet to be heard of."""
    margin, since = result.isolated_margin_usdt, p.leverage_ts or p.margin_ts
    if result.leverage and result.ts >= since:
        return replace(p, leverage=result.leverage, leverage_ts=result.ts), ()
    if margin and not p.leverage_ts and result.ts >= since:
        late = result.ts < p.filled_ts  # then it is this order's margin alone, as far as anybody can tell
        of_qty, at = (fill.filled, fill.average) if late else (qty, entry)
        return replace(p, leverage=rules.implied_leverage(entry=at, qty=of_qty, margin=margin)), ()
    if p.qty:
        return p, ()
    text = f"{result.client_order_id}: no leverage and no margin given, 1 assumed"
    return replace(p, leverage=Decimal(1)), (("WARN", "LEVERAGE_MISSING", text),)


def _liquidation(
    p: Position, result: OrderResult, entry: Decimal, qty: Decimal, margin: Decimal, terms: SymbolTerms
) -> Position:
    if result.ts < p.liq_ts:
        return p
    late = result.ts < p.filled_ts and terms.mmr is not None  # S4's figure is that of a part
    if result.liq_price is not None and not late:
        return replace(p, liq_price=result.liq_price, liq_ts=result.ts)
    if terms.mmr is None:
        return p
    return replace(
        p, liq_price=rules.liquidation_price(entry=entry, qty=qty, margin=margin, mmr=terms.mmr, side=p.side)
    )


def _added(
    p: Position, booking: Booking, fill: Fill, result: OrderResult, taken: Decimal
) -> tuple[Position, tuple[QuotaMove, ...]]:
    """Count an add, once an order, and have its margin booked."""
    first = fill.filled == fill.qty
    with exactly():
        p = replace(p, add_on_count=p.add_on_count + first, added_qty=p.added_qty + fill.held, add_ts=result.ts)
    move = f"{p.position_id}:{p.life_name}:{booking.order.client_order_id}:{fill.filled}"
    quotas: tuple[QuotaMove, ...] = (QuotaMove(move, budget(p.market), taken),)
    if booking.opened:  # an add that came after the close begins a life of which the entry side knows nothing
        quotas += (QuotaMove(move, concurrency(p.market), Decimal(1)),)
    return p, quotas
