"""The number types of the Active Bundle: exact decimals with a range, whose errors name what is allowed.

Numbers come as the `Decimal` of a JSON number's text or as a string, never as a binary float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from s6.model.numbers import Fault, number

#: A number beyond these limits is a typing error, and its arithmetic would exceed the working precision.
_MAX_INTEGER_DIGITS: Final = 18
_MAX_DECIMALS: Final = 30

SYMBOL_PATTERN: Final = r"^[A-Z0-9]{2,24}$"


def fault(allowed: str, *, at: str = "") -> PydanticCustomError:
    """Return a validation error that says what is allowed. `at` locates it in the validated value, like `[1].roe`."""
    return PydanticCustomError("bundle", "must be {allowed}", {"allowed": allowed, "at": at})


def exact(value: object) -> Decimal | None:
    """Return `value`, a number of the parsed JSON or a string, as a decimal, or None if it is no usable number."""
    try:
        found = number(value)
    except Fault:
        return None
    if not found:
        return Decimal(0)
    exponent = found.as_tuple().exponent
    if not isinstance(exponent, int) or found.adjusted() >= _MAX_INTEGER_DIGITS or exponent < -_MAX_DECIMALS:
        return None
    return Decimal(f"{found:f}")


def _number(allowed: str, within: Callable[[Decimal], bool]) -> BeforeValidator:
    def check(value: Any) -> Decimal:
        found = exact(value)
        if found is None or not within(found):
            raise fault(allowed)
        return found

    return BeforeValidator(check)


def _integer(allowed: str, lowest: int) -> BeforeValidator:
    def check(value: Any) -> int:
        found = exact(value)
        if found is None or found < lowest or found != int(found):
            raise fault(allowed)
        return int(found)

    return BeforeValidator(check)


Number = Annotated[Decimal, _number("a number", lambda _: True)]
Positive = Annotated[Decimal, _number("a number > 0", lambda n: n > 0)]
NonNegative = Annotated[Decimal, _number("a number >= 0", lambda n: n >= 0)]
Share = Annotated[Decimal, _number("a number > 0 and <= 1", lambda n: 0 < n <= 1)]
Inside = Annotated[Decimal, _number("a number > 0 and < 1", lambda n: 0 < n < 1)]
BelowOne = Annotated[Decimal, _number("a number >= 0 and < 1", lambda n: 0 <= n < 1)]
Count = Annotated[int, _integer("a whole number >= 0", 0)]
PositiveCount = Annotated[int, _integer("a whole number >= 1", 1)]


def to_ms(seconds: Decimal) -> int:
    """Convert seconds to whole milliseconds, rounded down."""
    return int(seconds.scaleb(3))


K = TypeVar("K")
V = TypeVar("V")


class FrozenMap(Mapping[K, V]):
    """An immutable, hashable mapping; a deep copy is the mapping itself."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"
