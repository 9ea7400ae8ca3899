"""Argument checks of the rules: finite decimals within decimal128's range, whole numbers, the two sides.

Every check returns the value to compute with and raises `ValueError`, naming the argument, for anything else. A
`Decimal` or an `int` is a number here. A float, a bool, a string or None is not: a binary float has already lost the
intended price, and callers parse text before they call.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from s6.rules.exact import ONE, ZERO

LONG: Final = "LONG"
SHORT: Final = "SHORT"

MAX_ADJUSTED_EXPONENT: Final = 6144
"""The checks refuse numbers beyond this exponent in either direction: exact sums of them would fill the memory."""


def finite(name: str, value: object) -> Decimal:
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    else:
        raise ValueError(f"{name} must be a Decimal, not {value!r}")
    if not number.is_finite():
        raise ValueError(f"{name} must be finite, not {number}")
    if not number:
        return ZERO
    if not -MAX_ADJUSTED_EXPONENT <= number.adjusted() <= MAX_ADJUSTED_EXPONENT:
        raise ValueError(f"{name} must be of a magnitude within 1E±{MAX_ADJUSTED_EXPONENT}, not {number}")
    return number


def positive(name: str, value: object) -> Decimal:
    number = finite(name, value)
    if number <= ZERO:
        raise ValueError(f"{name} must be above 0, not {number}")
    return number


def non_negative(name: str, value: object) -> Decimal:
    number = finite(name, value)
    if number < ZERO:
        raise ValueError(f"{name} must be 0 or more, not {number}")
    return number


def positive_or_none(name: str, value: object) -> Decimal | None:
    return None if value is None else positive(name, value)


def non_negative_or_zero(name: str, value: object) -> Decimal:
    """Check a magnitude that may be missing. Returns 0 for None."""
    return ZERO if value is None else non_negative(name, value)


def fraction_of_whole(name: str, value: object) -> Decimal:
    """Check for a number in (0, 1]."""
    number = finite(name, value)
    if not ZERO < number <= ONE:
        raise ValueError(f"{name} must be above 0 and at most 1, not {number}")
    return number


def below_one(name: str, value: object) -> Decimal:
    """Check for a number in [0, 1)."""
    number = finite(name, value)
    if not ZERO <= number < ONE:
        raise ValueError(f"{name} must be 0 or more and below 1, not {number}")
    return number


def count(name: str, value: object) -> int:
    """Check for a whole number, 0 or more."""
    number = non_negative(name, value)
    if number != (whole := int(number)):
        raise ValueError(f"{name} must be a whole number, not {number}")
    return whole


def average_price(name: str, value: object, qty: Decimal) -> Decimal:
    """Check the average price of a checked quantity: positive, or 0 while nothing is held."""
    return positive(name, value) if qty else non_negative(name, value)


def is_long(side: object) -> bool:
    if side == LONG:
        return True
    if side == SHORT:
        return False
    raise ValueError(f"side must be LONG or SHORT, not {side!r}")


def pairs(name: str, items: object, first: str, second: str) -> Iterator[tuple[str, object, object]]:
    """Yield, for each item of the sequence `items`, its name for error texts and its two attributes, unchecked."""
    if not isinstance(items, Sequence) or isinstance(items, str | bytes):
        raise ValueError(f"{name} must be a sequence, not {items!r}")
    for index, item in enumerate(items):
        label = f"{name}[{index}]"
        try:
            yield label, getattr(item, first), getattr(item, second)
        except AttributeError as error:
            raise ValueError(f"{label} must have the attributes {first} and {second}, not {item!r}") from error
