"""JSON with exact decimals: a ``Decimal`` is written with exactly its digits and read back as a ``Decimal``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, NoReturn

from s6.model.types import plain


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


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
