"""Quantities and prices that an exchange accepts: whole steps and ticks, and the smallest valid order."""

from decimal import Decimal
from typing import NamedTuple

from s6.rules.checks import finite, fraction_of_whole, non_negative, positive
from s6.rules.exact import ONE, ZERO, ceil_div, exactly, floor_div, plain


def round_down(x: Decimal, unit: Decimal) -> Decimal:
    """The largest multiple of `unit` that is not above `x`."""
    x, unit = finite("x", x), positive("unit", unit)
    with exactly():
        return plain(floor_div(x, unit) * unit)


def round_up(x: Decimal, unit: Decimal) -> Decimal:
    """The smallest multiple of `unit` that is not below `x`."""
    x, unit = finite("x", x), positive("unit", unit)
    with exactly():
        return plain(ceil_div(x, unit) * unit)


def smallest_valid_qty(step: Decimal, min_qty: Decimal, min_notional: Decimal, mark: Decimal) -> Decimal:
    """The least positive multiple of `step` that is at least `min_qty` and worth at least `min_notional` at `mark`."""
    step, mark = positive("step", step), positive("mark", mark)
    min_qty, min_notional = non_negative("min_qty", min_qty), non_negative("min_notional", min_notional)
    with exactly():
        return plain(_smallest_steps(step, min_qty, min_notional, mark) * step)


def reduce_decision(
    qty: Decimal, fraction: Decimal, step: Decimal, min_qty: Decimal, min_notional: Decimal, mark: Decimal
) -> Decimal:
    """Return the quantity that reduces a position by `fraction`, sized like one rung of a take-profit ladder.

    Prices are in quote units, quantities in base units. Returns 0 if there is nothing to close. Raises `ValueError`
    naming the argument.
    """
    fraction = fraction_of_whole("fraction", fraction)
    return Lot.checked(qty, step, min_qty, min_notional, mark).closing(fraction)


class Lot(NamedTuple):
    """A quantity held, and the limits of its exchange for orders."""

    qty: Decimal
    step: Decimal
    min_qty: Decimal
    min_notional: Decimal
    mark: Decimal

    @classmethod
    def checked(cls, qty: Decimal, step: Decimal, min_qty: Decimal, min_notional: Decimal, mark: Decimal) -> "Lot":
        return cls(
            qty=positive("qty", qty),
            step=positive("step", step),
            min_qty=non_negative("min_qty", min_qty),
            min_notional=non_negative("min_notional", min_notional),
            mark=positive("mark", mark),
        )

    def closing(self, portion: Decimal) -> Decimal:
        """Return how much to close to remove `portion` (in (0, 1]): a multiple of the step, never more than is held.

        The quantity is rounded down and raised to the smallest valid quantity. It is everything if that is more than is
        held, or if less than that would remain. "Everything" means whole steps, so the result is 0 if less than one
        step is held.
        """
        with exactly():
            held = floor_div(self.qty, self.step)
            if not held:
                return ZERO
            smallest = _smallest_steps(self.step, self.min_qty, self.min_notional, self.mark)
            closed = max(floor_div(self.qty * portion, self.step), smallest)
            # Dust below one step cannot lift a remainder of whole steps over the smallest: comparing steps is enough.
            if held - closed < smallest:
                closed = held
            return plain(closed * self.step)


def _smallest_steps(step: Decimal, min_qty: Decimal, min_notional: Decimal, mark: Decimal) -> Decimal:
    return max(ONE, ceil_div(min_qty, step), ceil_div(min_notional, step * mark))
