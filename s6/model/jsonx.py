"""JSON with exact decimals: a ``Decimal`` is written with exactly its digits and read back as a ``Decimal``.

``loads`` reads what S6 has written itself, ``received`` what comes from outside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, NoReturn

from s6.model.numbers import Fault, number
from s6.model.types import plain

ENDLESS: Final = 1_000
"""A number of more characters than this makes the whole text unreadable."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A JSON number that S6 doesn't accept for its size or length. It is neither a number nor a text to any reader."""

    text: str

    def __str__(self) -> str:
        return self.text


def dumps(value: object) -> str:
    """Return compact JSON text. Raises ``TypeError`` for floats and other values that JSON cannot express exactly."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise TypeError(f"{value} is no JSON number")
        return plain(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_quoted(str(k))}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    raise TypeError(f"{type(value).__name__} is not written to JSON: {value!r}")


def loads(text: str | bytes) -> Any:
    """Parse JSON. Numbers with a fraction or an exponent become ``Decimal``. Raises ``ValueError``."""
    return json.loads(text, parse_float=Decimal, parse_constant=_refuse)


def received(text: str | bytes, *, members: Callable[[list[tuple[str, Any]]], object] = dict, whole: type = int) -> Any:
    """Parse JSON from outside. A number that S6 doesn't accept becomes ``Unread``, for its field's reader to refuse.

    ``members`` makes an object of its members; ``whole`` is the type of whole numbers. Raises ``ValueError``.
    """

    def integer(digits: str) -> object:
        found = _number(digits)
        return found if isinstance(found, Unread) else whole(digits)

    try:
        return json.loads(
            text, parse_float=_number, parse_int=integer, parse_constant=_refuse, object_pairs_hook=members
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _number(text: str) -> Decimal | Unread:
    if len(text) > ENDLESS:
        raise ValueError(f"a number of {len(text)} characters")
    try:
        return number(text)
    except Fault:
        return Unread(text)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
