"""What a result adds to what is known of its order: quantity, cost, price, fees."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from s6.model.position import Order
from s6.model.types import ZERO, OrderStatus
from s6.model.wire import MalformedMessage, OrderResult
from s6.rules.exact import exactly, quotient

_ENDED: Final = 3
_RANK: Final = {"NEW": 1, "PARTIALLY_FILLED": 2} | dict.fromkeys(("FILLED", "CANCELED", "REJECTED", "EXPIRED"), _ENDED)
_NOISE: Final = Decimal("1e-9")


@dataclass(frozen=True, slots=True)
class Fill:
    """The increment of one result.

    ``qty`` is what was filled, ``held`` what it adds to (or takes off) the holding: less by what the exchange kept as
    its fee. ``cost`` is quantity times price, exactly; ``price`` is above 0 wherever ``qty`` is. ``filled`` and
    ``average`` are the order's, cumulative. ``odd`` names figures that could not be.
    """

    qty: Decimal
    held: Decimal
    price: Decimal
    cost: Decimal
    fee: Decimal
    fee_qty: Decimal
    filled: Decimal
    average: Decimal
    odd: tuple[str, ...] = ()


def fill_of(known: Order, result: OrderResult, *, step: Decimal | None, fallback: Decimal) -> Fill:
    """Return what the result adds to ``known``. ``fallback`` is the price of a fill whose price nobody tells (0: none).

    Raises ``MalformedMessage`` when a fill has no price at all.
    """
    filled = max(_filled(result, step), known.filled)
    odd = result.odd
    with exactly():
        qty = filled - known.filled
        cost, price, average = ZERO, ZERO, known.avg_price
        if qty:
            average = result.avg_price or ZERO
            if average:
                cost = average * filled - known.avg_price * known.filled
                price = average if not known.filled else quotient(cost, qty)
                if price <= 0:
                    odd += (f"avg_price {average}: the fills before leave no price for this one",)
                    price = average
            else:
                price = known.avg_price or fallback
                if price <= 0:
                    raise MalformedMessage("avg_price: is required once something is filled, and above 0")
                odd += (f"avg_price is absent: {price} is taken for it",)
                cost = price * qty
                average = quotient(known.avg_price * known.filled + cost, filled)
        fee = _grown(result.fee, known.fee, always=bool(qty))
        fee_qty = max(_grown(result.fee_qty, known.fee_qty, always=bool(qty)), ZERO)
        if fee_qty and fee_qty >= filled:
            odd += (f"fee_qty {result.fee_qty}",)
            fee_qty = ZERO
        return Fill(qty, qty - fee_qty, price, cost, fee, fee_qty, filled, average, odd)


def _filled(result: OrderResult, step: Decimal | None) -> Decimal:
    """What is filled, in all. A hair above the order's quantity is rounding, a step above it is a fill."""
    qty, filled = result.qty, result.filled_qty
    with exactly():
        above = filled - qty
        return qty if qty and 0 < above < (step or qty * _NOISE) else filled


def _grown(told: Decimal | None, known: Decimal, *, always: bool) -> Decimal:
    """How much a cumulative fee has grown; what came late and says less changes nothing."""
    if told is None or not (always or abs(told) > abs(known)):
        return ZERO
    return told - known


def forward(known: Order, result: OrderResult, filled: Decimal) -> OrderStatus:
    """Return the order's status after the result: one that S4 has ended never returns, one that S6 gave up does."""
    so_far = _RANK.get(known.status, 0)
    if result.status == "CANCEL_REJECTED":
        partly = 0 < filled < known.qty and so_far < _ENDED
        return "PARTIALLY_FILLED" if partly else known.status
    return result.status if _RANK[result.status] > so_far else known.status
