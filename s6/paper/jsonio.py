"""JSON that never passes a number through a binary float."""

import json
from collections.abc import Mapping
from decimal import Decimal


def plain(number: Decimal) -> str:
    """A decimal as text without an exponent and without trailing zeros: `0.10` → `0.1`, `1E+3` → `1000`."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def loads(text: str | bytes) -> object:
    """Parse JSON; fractional numbers become `Decimal`. Raises `ValueError` on malformed text and on NaN or Infinity."""
    return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)


def dumps(value: object) -> str:
    """Write JSON; a `Decimal` becomes a JSON number with exactly its digits. Raises `TypeError` on a float."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, str) or value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {dumps(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(dumps(item) for item in value) + "]"
    raise TypeError(f"{type(value).__name__} has no exact JSON form")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")
