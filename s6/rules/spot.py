"""A spot holding by weighted average cost (WAC).

Prices and profits are in quote units (USDT), quantities in base units. Every function raises `ValueError` naming the
argument.
"""

from decimal import Decimal
from typing import NamedTuple

from s6.rules.checks import average_price, non_negative, positive
from s6.rules.exact import exactly, plain, weighted_average


class Holding(NamedTuple):
    """The quantity held and its average cost."""

    qty: Decimal
    wac: Decimal


class Sale(NamedTuple):
    """The quantity left after a sale, its unchanged average cost, and the profit of the sale."""

    qty: Decimal
    wac: Decimal
    realized: Decimal


def wac_buy(qty: Decimal, wac: Decimal, buy_qty: Decimal, buy_price: Decimal) -> Holding:
    """Return the holding after a buy. If `qty` is 0, its average cost is `buy_price`."""
    qty, buy_qty, buy_price = non_negative("qty", qty), positive("buy_qty", buy_qty), positive("buy_price", buy_price)
    wac = average_price("wac", wac, qty)
    with exactly():
        return Holding(plain(qty + buy_qty), weighted_average(qty, wac, buy_qty, buy_price))


def wac_sell(qty: Decimal, wac: Decimal, sell_qty: Decimal, sell_price: Decimal) -> Sale:
    """Return the outcome of a sale. Raises `ValueError` if the sale is larger than the holding."""
    qty, wac = positive("qty", qty), positive("wac", wac)
    sell_qty, sell_price = positive("sell_qty", sell_qty), positive("sell_price", sell_price)
    if sell_qty > qty:
        raise ValueError(f"sell_qty must not be above the quantity held, {qty}, not {sell_qty}")
    with exactly():
        return Sale(plain(qty - sell_qty), wac, plain((sell_price - wac) * sell_qty))


def unrealized(mark: Decimal, wac: Decimal, qty: Decimal) -> Decimal:
    """Return the profit of selling all of `qty` at `mark`, before fees."""
    qty, mark = non_negative("qty", qty), positive("mark", mark)
    wac = average_price("wac", wac, qty)
    with exactly():
        return plain((mark - wac) * qty)
