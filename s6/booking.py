"""The books of one position: what an order result changes. Pure; exactly once by construction.

``filled_qty`` is cumulative, so a repeated or late result has no increment and changes nothing; a status only moves
forward. The price of an increment follows from the averages before and after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from s6 import rules
from s6.keys import budget, concurrency
from s6.model.commit import QuotaMove
from s6.model.documents import event
from s6.model.position import Order, Position
from s6.model.types import OPENING_KINDS, TERMINAL, ZERO, OrderStatus, closing_side, opening_side
from s6.model.wire import MalformedMessage, OrderResult
from s6.rules.exact import exactly, quotient


@dataclass(frozen=True, slots=True)
class SymbolTerms:
    """What the bundle says of the symbol; ``step`` None: the symbol is unknown, only exactly 0 counts as flat."""

    step: Decimal | None = None
    mmr: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """What came of a result: the books after it, and what others must hear of it."""

    position: Position
    order: Order
    increment: Decimal = ZERO
    price: Decimal = ZERO
    opened: bool = False
    closed: bool = False
    events: tuple[dict[str, str], ...] = ()
    quotas: tuple[QuotaMove, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()


_RANK = {"PENDING": 0, "NEW": 1, "PARTIALLY_FILLED": 2, "CANCELED": 3, "REJECTED": 3, "EXPIRED": 3, "FILLED": 3}
_EVENT_OF = {"ENTRY": "ENTRY", "ADD": "ADD", "TP": "TP_PARTIAL", "REDUCE": "RISK_DOWNGRADE"}


def book(
    position: Position | None,
    known: Order | None,
    result: OrderResult,
    *,
    mark: Decimal | None,
    terms: SymbolTerms,
    now: int,
) -> Booking | None:
    """Apply a result. None: it says nothing new. ``known`` is the order as last booked, ``mark`` the market's.

    Raises ``MalformedMessage`` when it contradicts the position, ``LookupError`` when a position must exist first.
    """
    opens = result.kind in OPENING_KINDS
    if position is None and (result.kind != "ENTRY" or not result.filled_qty):
        raise LookupError(result.position_id)
    if position is not None and (known is None or result.filled_qty > known.filled):
        _check(position, result, opens)  # the end of a former life's order fits any later one
    order = _order(position, known, result)
    increment, price, fee = _increment(known, result)
    news = increment or fee or known is None or order.status != known.status
    if not news and not _awaited(position, order, result):
        return None
    mark = mark or (price if increment else (position.mark if position else price))
    if position is None or (opens and increment and not position.is_open):
        position = _born(position, result, price, now)
        order = replace(order, life=position.life)
    booking = Booking(position, order, increment, price, opened=opens and position.qty == 0 and increment > 0)
    if opens and increment:
        booking = _enlarged(booking, result, terms, now)
    elif increment:
        booking = _reduced(booking, result, terms, now)
    position = booking.position
    with exactly():
        realized = position.realized_pnl_usdt - fee
    position = replace(position, realized_pnl_usdt=realized, orders=position.with_order(order))
    position = _stop_of(position, order)
    booking = replace(booking, position=revalue(position, mark))
    return _told(booking, result, now)


def _awaited(position: Position | None, order: Order, result: OrderResult) -> bool:
    """What changes no books and is waited for: by who cancelled, and by who had S4 refuse a stop before this one."""
    if result.status == "CANCEL_REJECTED":
        return order.live
    refused = position is not None and position.sl_refusals > 0 and position.sl_order == order.client_order_id
    return refused and result.status == order.status == "NEW"


def revalue(position: Position, mark: Decimal) -> Position:
    """The position with ``mark`` and what follows from it: unrealized PnL and ROE (0 when flat)."""
    if not position.qty or mark <= 0:
        return replace(position, unrealized_pnl_usdt=ZERO, roe=ZERO, mark=mark if mark > 0 else position.mark)
    profit = rules.pnl(mark=mark, entry=position.entry_price_avg, qty=position.qty, side=position.side)
    margin = position.isolated_margin_usdt
    roe = rules.roe(pnl=profit, margin=margin) if margin > 0 else ZERO
    return replace(position, unrealized_pnl_usdt=profit, roe=roe, mark=mark)


def _check(position: Position, result: OrderResult, opens: bool) -> None:
    if not position.is_open and opens:
        return
    for name in ("symbol", "market"):
        mine, theirs = getattr(position, name), getattr(result, name)
        if mine != theirs:
            raise MalformedMessage(f"{name}: the position has {mine}, not {theirs}")
    wanted = opening_side(position.side) if opens else closing_side(position.side)
    if result.side != wanted:
        raise MalformedMessage(f"side: must be {wanted} for {result.kind} of a {position.side} position")


def _order(position: Position | None, known: Order | None, result: OrderResult) -> Order:
    if known is None:
        known = unheard_of(result, result.intent_id, position.life if position else 1, ours=False)
    grown = result.filled_qty > known.filled
    return replace(
        known,
        status=_forward(known, result),
        filled=result.filled_qty if grown else known.filled,
        avg_price=(result.avg_price or ZERO) if grown else known.avg_price,
        fee=result.fee if result.fee is not None and (grown or abs(result.fee) > abs(known.fee)) else known.fee,
    )


def unheard_of(result: OrderResult, intent_id: str, life: int, *, ours: bool) -> Order:
    """The order that a result is about, as it was before anything was heard of it."""
    return Order(
        client_order_id=result.client_order_id,
        intent_id=intent_id,
        kind=result.kind,
        side=result.side,
        type=result.type,
        qty=result.qty,
        status="PENDING",
        sent_ts=result.ts,
        life=life,
        ours=ours,
    )


def _forward(known: Order, result: OrderResult) -> OrderStatus:
    if result.status == "CANCEL_REJECTED":
        filled = result.filled_qty > 0 and known.status not in TERMINAL
        return "PARTIALLY_FILLED" if filled and result.filled_qty < known.qty else known.status
    return result.status if _RANK[result.status] > _RANK[known.status] else known.status


def _increment(known: Order | None, result: OrderResult) -> tuple[Decimal, Decimal, Decimal]:
    """The newly filled quantity, its price, and the newly charged fee."""
    before, before_avg, before_fee = (known.filled, known.avg_price, known.fee) if known else (ZERO, ZERO, ZERO)
    with exactly():
        increment = max(result.filled_qty - before, ZERO)
        fee = ZERO
        if result.fee is not None and (increment or abs(result.fee) > abs(before_fee)):
            fee = result.fee - before_fee
        if not increment:
            return ZERO, ZERO, fee
        average = result.avg_price or ZERO
        price = quotient(average * result.filled_qty - before_avg * before, increment) if before else average
    if price <= 0:
        raise MalformedMessage("avg_price: contradicts the fills known before")
    return increment, price, fee


def _born(former: Position | None, result: OrderResult, price: Decimal, now: int) -> Position:
    """A first life, or the next one: the counters go on, the rest starts anew; a signal used once stays used."""
    fresh = Position(
        position_id=result.position_id,
        symbol=result.symbol,
        market=result.market,
        side="LONG" if result.side == "BUY" else "SHORT",
        opened_ts=result.ts,
        best_mark=price,
        best_ts=now,
        ladder=former.ladder if former else "",
    )
    if former is None:
        return fresh
    late_add = "ADD_AFTER_CLOSE" if result.kind == "ADD" else ""
    return replace(
        fresh,
        life=former.life + 1,
        rev=former.rev,
        seq=former.seq,
        ts=former.ts,
        op_count=former.op_count,
        add_signal_id=former.add_signal_id,
        used_signals=former.used_signals,
        unverified_from=former.unverified_from,
        rebuilt_ts=former.rebuilt_ts,
        orders=former.orders,
        exit_reason=late_add,
    )


def _enlarged(booking: Booking, result: OrderResult, terms: SymbolTerms, now: int) -> Booking:
    p, increment, price = booking.position, booking.increment, booking.price
    entry = rules.average_entry(qty=p.qty, entry=p.entry_price_avg, add_qty=increment, add_price=price)
    warnings: tuple[tuple[str, str], ...] = ()
    with exactly():
        qty = p.qty + increment
    if p.market == "SPOT":
        leverage = Decimal(1)
        with exactly():
            taken = increment * price
            margin = qty * entry
    else:
        leverage, warnings = _leverage(p, result, qty, entry)
        own = rules.initial_margin(qty=increment, price=price, leverage=leverage)
        with exactly():
            margin = result.isolated_margin_usdt or p.isolated_margin_usdt + own
            taken = _taken(own, margin - p.isolated_margin_usdt)
    liq = _liquidation(result, p, entry, qty, margin, terms)
    with exactly():
        p = replace(
            p,
            qty=qty,
            entry_price_avg=entry,
            isolated_margin_usdt=margin,
            leverage=leverage,
            liq_price=liq,
            reserved_margin=p.reserved_margin + taken,
            entry_ts=now,
            q0=p.q0 + increment if result.kind == "ENTRY" or p.exit_reason == "ADD_AFTER_CLOSE" else p.q0,
        )
    quotas: tuple[QuotaMove, ...] = ()
    if result.kind == "ADD":
        first = booking.order.filled == increment
        with exactly():
            p = replace(p, add_on_count=p.add_on_count + first, added_qty=p.added_qty + increment, add_ts=result.ts)
        move = f"{p.position_id}:{p.life}:{booking.order.client_order_id}:{booking.order.filled}"
        quotas = (QuotaMove(move, budget(p.market), taken),)
        if booking.opened:  # an add that came after the close begins a life of which the entry side knows nothing
            quotas += (QuotaMove(move, concurrency(p.market), Decimal(1)),)
    return replace(booking, position=p, quotas=quotas, warnings=warnings)


def _taken(own: Decimal, by_figures: Decimal) -> Decimal:
    """The margin a fill took: by S4's figures where they differ, unless they differ by rounding alone, or by so much
    that they must know of a close which is yet to be heard of. Call it inside ``exactly``."""
    apart = abs(by_figures - own)
    return by_figures if own < apart * 1_000_000 and apart * 10 <= own else own


def _leverage(
    p: Position, result: OrderResult, qty: Decimal, entry: Decimal
) -> tuple[Decimal, tuple[tuple[str, str], ...]]:
    """S4's figure; else what the margin implies; else what it was; else 1 with a warning."""
    if result.leverage:
        return result.leverage, ()
    if result.isolated_margin_usdt:
        return rules.implied_leverage(entry=entry, qty=qty, margin=result.isolated_margin_usdt), ()
    if p.qty:
        return p.leverage, ()
    return Decimal(1), (("LEVERAGE_MISSING", f"{result.client_order_id}: no leverage and no margin given, 1 assumed"),)


def _liquidation(
    result: OrderResult, p: Position, entry: Decimal, qty: Decimal, margin: Decimal, terms: SymbolTerms
) -> Decimal:
    if p.market == "SPOT":
        return ZERO
    if result.liq_price is not None:
        return result.liq_price
    if terms.mmr is None:
        return p.liq_price
    return rules.liquidation_price(entry=entry, qty=qty, margin=margin, mmr=terms.mmr, side=p.side)


def _reduced(booking: Booking, result: OrderResult, terms: SymbolTerms, now: int) -> Booking:
    p, order = booking.position, booking.order
    increment = min(booking.increment, p.qty)
    warnings = booking.warnings
    if increment < booking.increment:
        text = f"{order.client_order_id}: {booking.increment} closed where {p.qty} was held"
        warnings = (*warnings, ("OVERSELL", text))
    if not increment:
        return replace(booking, warnings=warnings, increment=ZERO)
    with exactly():
        realized = (booking.price - p.entry_price_avg) * increment * p.dir
        qty = p.qty - increment
        p = replace(
            p,
            qty=qty,
            isolated_margin_usdt=rules.margin_after_close(
                margin=p.isolated_margin_usdt, closed_qty=increment, qty=p.qty
            )
            if p.isolated_margin_usdt > 0
            else ZERO,
            realized_pnl_usdt=p.realized_pnl_usdt + realized,
        )
    if order.kind == "TP" and order.rungs:
        p = replace(p, tp_done=tuple(sorted({*p.tp_done, *order.rungs})))
    if order.kind == "REDUCE" and order.filled == booking.increment:
        p = replace(p, reduces=p.reduces + 1, reduce_ts=now)
    closed = p.qty == 0 or (terms.step is not None and p.qty < terms.step)
    if closed:
        p = replace(p, status="CLOSED", dust=p.qty, qty=ZERO, isolated_margin_usdt=ZERO, closed_ts=result.ts)
    return replace(booking, position=p, increment=increment, closed=closed, warnings=warnings)


def _stop_of(position: Position, order: Order) -> Position:
    """A stop that is no longer live protects nothing; the price it had stays locked."""
    if position.sl_order and ((position.sl_order == order.client_order_id and not order.live) or not position.is_open):
        position = replace(position, sl_order="", sl_qty=ZERO)
    return position


def _told(booking: Booking, result: OrderResult, now: int) -> Booking:
    """The events and quota moves of this booking; ids say what happened, so a repetition bears the same."""
    p, order = booking.position, booking.order
    events, quotas = booking.events, booking.quotas
    part = f"{order.client_order_id}.{order.filled}"
    data = {"client_order_id": order.client_order_id, "qty_after": p.qty, "entry_price_avg": p.entry_price_avg}
    if booking.increment and order.kind in _EVENT_OF:
        name = _EVENT_OF[order.kind]
        if order.kind == "TP":
            data["rungs"] = list(order.rungs)
        events += (
            event(p, name, part, result.ts, booking.increment, booking.price, result.reason or order.kind, data),
        )
    if booking.closed:
        done = {
            "client_order_id": order.client_order_id,
            "kind": order.kind,
            "realized_pnl_usdt": p.realized_pnl_usdt,
            "dust": p.dust,
            "life": p.life,
        }
        events += (event(p, "EXIT", "", result.ts, order.filled, order.avg_price, p.exit_reason or order.kind, done),)
        close = f"{p.position_id}:{p.life}:close"
        with exactly():
            quotas += (
                QuotaMove(close, concurrency(p.market), Decimal(-1)),
                QuotaMove(close, budget(p.market), -p.reserved_margin),
            )
        p = replace(p, stagnated=False)
    return replace(booking, position=p, events=events, quotas=quotas)
