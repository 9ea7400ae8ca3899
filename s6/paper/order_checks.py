"""The exchange's checks of an order."""

from decimal import Decimal

from s6.paper.domain import Position, Quote, SymbolSpec
from s6.paper.requests import OrderRequest


def refusal(
    request: OrderRequest,
    spec: SymbolSpec | None,
    quote: Quote | None,
    position: Position | None,
    selling: Decimal,
    *,
    force: bool = False,
) -> str | None:
    """Return the 422 reason for refusing an order, or None to accept it.

    A closing order may be smaller than the minima if it takes all whole steps that are held. `selling` is what the
    position's other working closing orders may still take; a SPOT sell beyond the rest of the holding is refused.
    """
    if spec is None:
        return "UNKNOWN_SYMBOL"
    if quote is None:
        return "NO_MARKET"
    held = position.qty if position else Decimal(0)
    if position and (position.symbol, position.market) != (request.symbol, request.market):
        return "POSITION_MISMATCH"
    if request.kind in {"ENTRY", "ADD"}:
        return _opening(request, spec, quote, position if held else None, force=force)
    if held == 0:
        return "NOTHING_LEFT"
    if position and request.side != position.closing_side:
        return "SIDE_MISMATCH"
    if request.type == "STOP_MARKET" and request.stop_px is not None:
        return _stop(request, request.stop_px, spec, quote.mark)
    if request.market == "SPOT" and request.qty > held - selling:
        return "INSUFFICIENT_HOLDING"
    reason = spec.takes(request.qty, quote.mark)
    takes_all = request.qty >= spec.floor(held)
    return None if takes_all and reason in {"MIN_QTY", "MIN_NOTIONAL"} else reason


def _opening(
    request: OrderRequest, spec: SymbolSpec, quote: Quote, position: Position | None, *, force: bool
) -> str | None:
    if request.kind == "ADD" and position is None:
        return "NO_POSITION"
    if position and (request.side == "BUY") != (position.side == "LONG"):
        return "SIDE_MISMATCH"
    return None if force else spec.takes(request.qty, request.price or quote.mark)


def _stop(request: OrderRequest, stop_px: Decimal, spec: SymbolSpec, mark: Decimal) -> str | None:
    if stop_px % spec.tick:
        return "PRICE_FILTER"
    if reason := spec.takes(request.qty, stop_px):
        return reason
    beyond = stop_px >= mark if request.side == "SELL" else stop_px <= mark
    return "WOULD_TRIGGER" if beyond else None
