"""A spot holding by weighted average cost (WAC).

Prices and profits in quote units (USDT), quantities in base units. Raises `ValueError` naming the argument.
"""

from decimal import Decimal
from typing import NamedTuple

from s6.rules.checks import average_price, non_negative, positive
from s6.rules.exact import exactly, plain, weighted_average


class Holding(NamedTuple):
    """What is held and what it cost on average."""

    qty: Decimal
    wac: Decimal


class Sale(NamedTuple):
    """What is left after a sale, at the same average cost, and the profit the sale made."""

    qty: Decimal
    wac: Decimal
    realized: Decimal


def wac_buy(qty: Decimal, wac: Decimal, buy_qty: Decimal, buy_price: Decimal) -> Holding:
    """The holding after a buy; from flat (`qty` 0) its average cost is `buy_price`."""
    qty, buy_qty, buy_price = non_negative("qty", qty), positive("buy_qty", buy_qty), positive("buy_price", buy_price)
    wac = average_price("wac", wac, qty)
    with exactly():
        return Holding(plain(qty + buy_qty), weighted_average(qty, wac, buy_qty, buy_price))


def wac_sell(qty: Decimal, wac: Decimal, sell_qty: Decimal, sell_price: Decimal) -> Sale:
    """The outcome of a sale; selling more than is held is an error."""
    qty, wac = positive("qty", qty), positive("wac", wac)
    sell_qty, sell_price = positive("sell_qty", sell_qty), positive("sell_price", sell_price)
    if sell_qty > qty:
        raise ValueError(f"sell_qty must not be above the quantity held, {qty}, not {sell_qty}")
    with exactly():
        return Sale(plain(qty - sell_qty), wac, plain((sell_price - wac) * sell_qty))


def unrealized(mark: Decimal, wac: Decimal, qty: Decimal) -> Decimal:
    """The profit that selling all of `qty` at `mark` would make, before fees."""
    qty, mark = non_negative("qty", qty), positive("mark", mark)
    wac = average_price("wac", wac, qty)
    with exactly():
        return plain((mark - wac) * qty)
