"""Converts frozen dataclasses to flat string maps and back, as Redis and snapshots keep them.

A decimal is written without an exponent, a boolean as ``true``/``false``, None as the empty string, a tuple of
integers as a JSON list and a nested record as JSON. The types of a class are read once. A record from an older
version lacks the newer fields, and they take their defaults.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from s6.model.types import plain

T = TypeVar("T")
_Write = Callable[[Any], str]
_Read = Callable[[str], Any]
_plans: dict[type[Any], tuple[tuple[str, _Write, _Read, bool], ...]] = {}


def to_fields(record: object) -> dict[str, str]:
    """Return the record's fields as strings, in their declared order."""
    return {name: write(getattr(record, name)) for name, write, _, _ in _plan(type(record))}


def from_fields(cls: type[T], raw: Mapping[str, str]) -> T:
    """Return the record that the strings describe. Absent fields take their defaults.

    Raises ``KeyError`` when a field without a default is missing, ``ValueError`` when one cannot be read.
    """
    values: dict[str, Any] = {}
    for name, _, read, required in _plan(cls):
        text = raw.get(name)
        if text is not None:
            values[name] = read(text)
        elif required:
            raise KeyError(f"{cls.__name__}.{name} is missing")
    return cls(**values)


def _plan(cls: type[Any]) -> tuple[tuple[str, _Write, _Read, bool], ...]:
    plan = _plans.get(cls)
    if plan is None:
        plan = _plans[cls] = _planned(cls)
    return plan


def _planned(cls: type[Any]) -> tuple[tuple[str, _Write, _Read, bool], ...]:
    hints = get_type_hints(cls)
    rows = []
    for field in fields(cls):
        write, read = _codec(hints[field.name])
        required = field.default is MISSING and field.default_factory is MISSING
        rows.append((field.name, write, read, required))
    return tuple(rows)


def _codec(hint: Any) -> tuple[_Write, _Read]:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        inner = next(a for a in get_args(hint) if a is not type(None))
        write, read = _codec(inner)
        return (lambda v: "" if v is None else write(v)), (lambda s: None if s == "" else read(s))
    if hint is Decimal:
        return plain, Decimal
    if hint is bool:
        return (lambda v: "true" if v else "false"), (lambda s: s == "true")
    if hint is int:
        return str, int
    if hint is str or origin is Literal:
        return (lambda v: v), (lambda s: s)
    if origin is tuple:
        return _tuple_codec(get_args(hint)[0])
    if is_dataclass(hint):
        assert isinstance(hint, type)
        record: type[Any] = hint
        return (lambda v: json.dumps(to_fields(v))), (lambda s: from_fields(record, json.loads(s)))
    raise TypeError(f"no codec for {hint!r}")


def _tuple_codec(item: Any) -> tuple[_Write, _Read]:
    if item in (int, str):
        return (lambda v: json.dumps(list(v))), (lambda s: tuple(json.loads(s)) if s else ())
    if is_dataclass(item):
        assert isinstance(item, type)
        record: type[Any] = item
        return (
            lambda v: json.dumps([to_fields(x) for x in v]) if v else "",
            lambda s: tuple(from_fields(record, x) for x in json.loads(s)) if s else (),
        )
    raise TypeError(f"no codec for tuples of {item!r}")
