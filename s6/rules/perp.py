"""An isolated perpetual position: profit, return on margin, liquidation, and its figures after fills.

Prices, margins and profits are in quote units (USDT), quantities in base units; ratios are plain numbers (0.5 is
50 %). Arguments are `Decimal` (or int). Every function raises `ValueError`, naming the argument, for any other type
and for a value out of range.
"""

from decimal import Decimal

from s6.rules.checks import average_price, below_one, finite, is_long, non_negative, non_negative_or_zero, positive
from s6.rules.exact import ONE, ZERO, exactly, plain, quotient, quotient_above, quotient_below, weighted_average


def pnl(mark: Decimal, entry: Decimal, qty: Decimal, side: str) -> Decimal:
    """Return the unrealized profit at `mark`, exactly."""
    long = is_long(side)
    mark, entry, qty = positive("mark", mark), positive("entry", entry), positive("qty", qty)
    with exactly():
        return plain((mark - entry if long else entry - mark) * qty)


def roe(pnl: Decimal, margin: Decimal) -> Decimal:
    """Return the return on margin, rounded down so that comparing it with a threshold is exact."""
    return quotient_below(finite("pnl", pnl), positive("margin", margin))


def liquidation_buffer(mark: Decimal, liq_price: Decimal | None, side: str | None = None) -> Decimal:
    """Return the distance from `mark` to the liquidation price, as a part of `mark`.

    With a `side`, it is 0 once the mark is at or beyond `liq_price`. It is 1 if the position cannot be liquidated
    (`liq_price` 0 or None). It is rounded down so that comparing it with a threshold is exact.
    """
    long = None if side is None else is_long(side)
    mark, liq_price = positive("mark", mark), non_negative_or_zero("liq_price", liq_price)
    if not liq_price:
        return ONE
    if (long is True and mark <= liq_price) or (long is False and mark >= liq_price):
        return ZERO
    with exactly():
        return quotient_below(abs(mark - liq_price), mark)


def liquidation_price(entry: Decimal, qty: Decimal, margin: Decimal, mmr: Decimal, side: str) -> Decimal:
    """Return the mark at which the margin left equals the maintenance margin, `mmr` of the notional.

    It solves `margin + (p - entry)*qty*dir = mmr*p*qty` for `p`. For a LONG it is at least 0.
    """
    long = is_long(side)
    entry, qty = positive("entry", entry), positive("qty", qty)
    margin, mmr = positive("margin", margin), below_one("mmr", mmr)
    with exactly():
        if not long:
            return quotient(entry * qty + margin, qty * (ONE + mmr))
        return quotient(max(entry * qty - margin, ZERO), qty * (ONE - mmr))


def mark_at_roe(side: str, entry: Decimal, qty: Decimal, margin: Decimal, roe: Decimal) -> Decimal:
    """Return the mark at which the return on margin reaches `roe`. A LONG reaches it at or above, a SHORT at or below.

    It is rounded so that no mark that has reached `roe` is missed. It is 0 or less if no mark can reach `roe`, since a
    SHORT's gains are bounded.
    """
    long = is_long(side)
    entry, qty = positive("entry", entry), positive("qty", qty)
    margin, roe = positive("margin", margin), finite("roe", roe)
    with exactly():
        if long:
            return quotient_below(entry * qty + roe * margin, qty)
        return quotient_above(entry * qty - roe * margin, qty)


def mark_at_buffer(side: str, liq_price: Decimal | None, buffer: Decimal) -> Decimal | None:
    """Return the mark at which `liquidation_buffer` equals `buffer` (in [0, 1)).

    Below that mark (SHORT: above) less buffer is left. Returns None if the position cannot be liquidated (`liq_price` 0
    or None). The mark is rounded so that no mark with less buffer is missed.
    """
    long = is_long(side)
    liq_price, buffer = non_negative_or_zero("liq_price", liq_price), below_one("buffer", buffer)
    if not liq_price:
        return None
    with exactly():
        if long:
            return quotient_above(liq_price, ONE - buffer)
        return quotient_below(liq_price, ONE + buffer)


def average_entry(qty: Decimal, entry: Decimal, add_qty: Decimal, add_price: Decimal) -> Decimal:
    """Return the entry price after an add: the average weighted by quantity, or `add_price` if `qty` is 0."""
    qty = non_negative("qty", qty)
    entry = average_price("entry", entry, qty)
    return weighted_average(qty, entry, positive("add_qty", add_qty), positive("add_price", add_price))


def initial_margin(qty: Decimal, price: Decimal, leverage: Decimal) -> Decimal:
    """Return the margin that opening `qty` at `price` takes."""
    qty, price, leverage = positive("qty", qty), positive("price", price), positive("leverage", leverage)
    with exactly():
        return quotient(qty * price, leverage)


def margin_after_add(margin: Decimal, add_qty: Decimal, add_price: Decimal, leverage: Decimal) -> Decimal:
    """Return the isolated margin after an add: it grows by the add's own initial margin."""
    margin, add_qty = positive("margin", margin), positive("add_qty", add_qty)
    add_price, leverage = positive("add_price", add_price), positive("leverage", leverage)
    with exactly():
        return quotient(margin * leverage + add_qty * add_price, leverage)


def margin_after_close(margin: Decimal, closed_qty: Decimal, qty: Decimal) -> Decimal:
    """Return the isolated margin after closing `closed_qty` out of `qty`; 0 after closing all of it."""
    margin, qty = positive("margin", margin), positive("qty", qty)
    closed_qty = non_negative("closed_qty", closed_qty)
    if closed_qty > qty:
        raise ValueError(f"closed_qty must not be above the quantity held, {qty}, not {closed_qty}")
    with exactly():
        return quotient(margin * (qty - closed_qty), qty)


def implied_leverage(entry: Decimal, qty: Decimal, margin: Decimal) -> Decimal:
    """Return the leverage that a position's figures imply: its notional at entry over its margin."""
    entry, qty, margin = positive("entry", entry), positive("qty", qty), positive("margin", margin)
    with exactly():
        return quotient(entry * qty, margin)
