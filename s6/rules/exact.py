"""Arithmetic that rounds only where the code asks for it.

Sums, differences and products are computed in `EXACT`, a context so wide that they cannot round (it raises if they
would). Rules compare thresholds by cross-multiplication and round a quotient once, to `DIGITS` significant digits or
to a whole number of ticks or steps. Rules compute inside `with exactly():`, so the caller's decimal context and its
flags neither matter nor change.
"""

from contextlib import AbstractContextManager
from decimal import (
    MAX_EMAX,
    MAX_PREC,
    MIN_EMIN,
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)
from typing import Final

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)

DIGITS: Final = 50
"""Significant digits of a quotient."""

EXACT: Final = Context(
    prec=MAX_PREC,
    rounding=ROUND_HALF_EVEN,
    Emin=MIN_EMIN,
    Emax=MAX_EMAX,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[Inexact, InvalidOperation, DivisionByZero, Overflow],
)


def _dividing(rounding: str) -> Context:
    return Context(
        prec=DIGITS,
        rounding=rounding,
        Emin=MIN_EMIN,
        Emax=MAX_EMAX,
        capitals=1,
        clamp=0,
        flags=[],
        traps=[InvalidOperation, DivisionByZero, Overflow],
    )


_NEAREST: Final = _dividing(ROUND_HALF_EVEN)
_BELOW: Final = _dividing(ROUND_FLOOR)
_ABOVE: Final = _dividing(ROUND_CEILING)


def exactly() -> AbstractContextManager[Context]:
    """Return a context manager in which `+`, `-`, `*`, `**` and `divmod` of decimals are exact."""
    return localcontext(EXACT)


def plain(x: Decimal) -> Decimal:
    """Return `x` without a positive exponent or a negative zero: 1E+3 becomes 1000, -0.00 becomes 0."""
    return EXACT.add(x, ZERO) or ZERO


def quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Divide, rounding to nearest at `DIGITS` significant digits."""
    return plain(_NEAREST.divide(numerator, denominator))


def quotient_below(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Divide, rounding towards minus infinity.

    For any threshold `t` of at most `DIGITS` digits, comparing the result by `>= t` or `< t` gives the same answer as
    comparing the exact quotient.
    """
    return plain(_BELOW.divide(numerator, denominator))


def quotient_above(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Divide, rounding towards plus infinity: comparisons by `<= t` and `> t` stay exact."""
    return plain(_ABOVE.divide(numerator, denominator))


def floor_div(numerator: Decimal, denominator: Decimal) -> Decimal:
    """The largest whole number not above the quotient; `denominator` is positive. Call it inside `exactly()`."""
    whole, rest = divmod(numerator, denominator)
    return whole - ONE if rest < ZERO else whole


def ceil_div(numerator: Decimal, denominator: Decimal) -> Decimal:
    """The smallest whole number not below the quotient; `denominator` is positive. Call it inside `exactly()`."""
    whole, rest = divmod(numerator, denominator)
    return whole + ONE if rest > ZERO else whole


def weighted_average(qty: Decimal, price: Decimal, more_qty: Decimal, more_price: Decimal) -> Decimal:
    """The average price of two quantities, of which the first may be 0."""
    if not qty:
        return plain(more_price)
    with exactly():
        return quotient(qty * price + more_qty * more_price, qty + more_qty)
