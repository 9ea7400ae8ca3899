"""Apply a result to a position: the books after it, and what others must hear of it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from s6 import rules
from s6.booking.booking import Booking, SymbolTerms, Warned
from s6.booking.enlarging import charged_in_kind, enlarged
from s6.booking.fills import Fill, fill_of, forward
from s6.booking.reducing import reduced
from s6.keys import budget, concurrency
from s6.model.commit import QuotaMove
from s6.model.documents import event
from s6.model.position import Order, Position
from s6.model.types import OPENING_KINDS, TERMINAL, ZERO, closing_side, opening_side, plain
from s6.model.wire import MalformedMessage, OrderResult, SideConflict
from s6.rules.exact import exactly

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
    """Apply a result. ``known`` is the order as last booked, ``mark`` the market's price.

    Returns None where the result says nothing new. Raises ``MalformedMessage`` when it contradicts the position,
    ``LookupError`` when a position must exist first.
    """
    opens = result.kind in OPENING_KINDS
    if position is None and (result.kind != "ENTRY" or not result.filled_qty):
        raise LookupError(result.position_id)
    before = known or unheard_of(result, result.intent_id, position.life if position else 1, ours=False)
    if position is not None and (known is None or result.filled_qty > known.filled):
        _check(position, result, opens)  # the end of a former life's order fits any later one
    fill = fill_of(before, result, step=terms.step, fallback=_fallback(before, position, mark))
    order = _after(before, result, fill)
    if known is not None and _contradicts(known, result):
        return _conflict(position, known, result)
    news = fill.qty or fill.fee or fill.fee_qty or known is None or order.status != known.status
    if not news and not _awaited(position, order, result):
        return None
    mark = mark or (fill.price if fill.qty else (position.mark if position else fill.price))
    if position is None or (opens and fill.qty and not position.is_open):
        position = _born(position, result, fill.price, now)
        order = replace(order, life=position.life)
    booking = Booking(position, order, fill.qty, fill.price, opened=opens and position.qty == 0 and fill.qty > 0)
    booking = replace(booking, warnings=_odd(result, fill))
    if opens and fill.qty:
        booking = enlarged(booking, fill, result, terms, now)
    elif fill.qty:
        booking = reduced(booking, fill, result, terms, now)
    booking = _charged(booking, fill)
    position = booking.position
    position = _stop_of(replace(position, orders=position.with_order(order)), order)
    return _with_events(replace(booking, position=revalue(position, mark)), result)


def write_off(position: Position, mark: Decimal, now: int) -> Booking:
    """Close the books of a position that the exchange no longer has: all of it at the mark, by nobody's order."""
    position = replace(position, exit_reason="WRITTEN_OFF")
    result = OrderResult(
        ts=now,
        symbol=position.symbol,
        market=position.market,
        position_id=position.position_id,
        client_order_id=f"WRITE-OFF-{position.life}",
        kind="EXIT",
        side=closing_side(position.side),
        type="MARKET",
        status="FILLED",
        qty=position.qty,
        filled_qty=position.qty,
        avg_price=mark,
        reason="WRITTEN_OFF",
    )
    booking = book(position, None, result, mark=mark, terms=SymbolTerms(), now=now)
    assert booking is not None
    return booking


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
        text = f"side: must be {wanted} for {result.kind} of a {position.side} position"
        raise SideConflict(text) if result.kind == "ENTRY" else MalformedMessage(text)


def _fallback(order: Order, position: Position | None, mark: Decimal | None) -> Decimal:
    """The price of a fill of which nobody tells the price: the stop's own, else the market's, else the position's."""
    return order.stop_px or mark or (position.mark if position is not None else ZERO)


def _contradicts(known: Order, result: OrderResult) -> bool:
    """Whether a finished order of others is told of anew with other figures, and nothing says that it is another."""
    if known.ours or known.live or result.order_id or result.status not in TERMINAL:
        return False
    price = result.avg_price is not None and result.avg_price != known.avg_price
    return bool(result.filled_qty) and (result.filled_qty != known.filled or price)


def _conflict(position: Position | None, known: Order, result: OrderResult) -> Booking:
    assert position is not None
    text = (
        f"{known.client_order_id} was finished with {plain(known.filled)} at {plain(known.avg_price)}; told anew with"
        f" {plain(result.filled_qty)} at {plain(result.avg_price or ZERO)} and no order_id: not booked"
    )
    return Booking(position, known, warnings=(("ERROR", "RESULT_CONFLICT", text),))


def _odd(result: OrderResult, fill: Fill) -> tuple[Warned, ...]:
    """What was not taken as it stands: figures that could not be, words that the contract doesn't know."""
    warnings: tuple[Warned, ...] = ()
    name = result.client_order_id
    if fill.odd:
        warnings += (("WARN", "FIGURES_ODD", f"{name} ({result.kind}): {'; '.join(fill.odd)}"),)
    if result.guessed:
        warnings += (("ERROR", "RESULT_UNCLEAR", f"{name} ({result.kind}): {'; '.join(result.guessed)}"),)
    return warnings


def _charged(booking: Booking, fill: Fill) -> Booking:
    """The booking with the order's fees: in USDT, and in kind where they come without a fill.

    A fee of a life that is over touches no other life.
    """
    p, order = booking.position, booking.order
    if fill.fee and not fill.qty and (order.life != p.life or not p.is_open):
        late: Warned = ("WARN", "LATE_FEE", f"{order.client_order_id}: {plain(fill.fee)} USDT after life {order.life}")
        booking = replace(booking, warnings=(*booking.warnings, late))
    if order.life != p.life and not fill.qty:
        return booking
    with exactly():
        p = replace(p, realized_pnl_usdt=p.realized_pnl_usdt - fill.fee)
    if fill.fee_qty and not fill.qty and p.is_open and fill.fee_qty < p.qty:
        p = charged_in_kind(p, fill.fee_qty)
    return replace(booking, position=p)


def _after(before: Order, result: OrderResult, fill: Fill) -> Order:
    with exactly():
        return replace(
            before,
            qty=max(before.qty, fill.filled),
            status=forward(before, result, fill.filled),
            filled=fill.filled,
            avg_price=fill.average,
            fee=before.fee + fill.fee,
            fee_qty=before.fee_qty + fill.fee_qty,
            order_id=before.order_id or result.order_id,
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
        born_ts=former.born_ts if former else result.ts,
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


def _stop_of(position: Position, order: Order) -> Position:
    """A stop that is no longer live protects nothing; the price it had stays locked."""
    if position.sl_order and ((position.sl_order == order.client_order_id and not order.live) or not position.is_open):
        position = replace(position, sl_order="", sl_qty=ZERO)
    return position


def _with_events(booking: Booking, result: OrderResult) -> Booking:
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
        close = f"{p.position_id}:{p.life_name}:close"
        with exactly():
            quotas += (
                QuotaMove(close, concurrency(p.market), Decimal(-1)),
                QuotaMove(close, budget(p.market), -p.reserved_margin),
            )
        p = replace(p, stagnated=False)
    return replace(booking, position=p, events=events, quotas=quotas)
