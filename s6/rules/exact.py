"""Arithmetic that does not round unless it is told to.

Sums, differences and products are taken in `EXACT`, a context so wide that they cannot round (and that raises should
they ever try); thresholds are compared by cross-multiplication; a quotient is rounded once, to `DIGITS` significant
digits or to a whole number of ticks or steps. Callers work inside `with exactly():`, so neither the caller's decimal
context nor its flags matter or change.
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
    """A block in which `+`, `-`, `*`, `**` and `divmod` of decimals are exact."""
    return localcontext(EXACT)


def plain(x: Decimal) -> Decimal:
    """`x` with no positive exponent and no negative zero: 1E+3 becomes 1000, -0.00 becomes 0."""
    return EXACT.add(x, ZERO) or ZERO


def quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """The quotient, rounded to nearest at `DIGITS` significant digits."""
    return plain(_NEAREST.divide(numerator, denominator))


def quotient_below(numerator: Decimal, denominator: Decimal) -> Decimal:
    """The quotient, rounded towards minus infinity.

    So rounded, it stands to any threshold `t` of at most `DIGITS` digits as the true quotient does, for both `>= t`
    and `< t`.
    """
    return plain(_BELOW.divide(numerator, denominator))


def quotient_above(numerator: Decimal, denominator: Decimal) -> Decimal:
    """The quotient, rounded towards plus infinity: true to `<= t` and `> t`."""
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
