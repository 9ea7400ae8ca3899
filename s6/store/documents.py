"""Exact JSON text of documents, and the checks that both adapters make before they write."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import NamedTuple

from s6.store.port import Document, StoreRefused

MAX_LIMIT = 1000
"""The greatest number of documents on a page, for any requested limit."""

KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}", re.ASCII)
"""The ``_key`` that ArangoDB accepts. All stores check it, so that a history can move from one to another."""

_INT64 = 1 << 63


_name = lru_cache(4096)(encode_basestring_ascii)


def dumps(value: object) -> str:
    """Return JSON text with exactly each Decimal's digits. Raises ``TypeError`` for a float, ``ValueError`` for NaN."""
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} is not a JSON number")
        return str(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, Mapping):
        return "{" + ",".join([f"{_name(name)}:{dumps(member)}" for name, member in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([dumps(member) for member in value]) + "]"
    raise TypeError(f"{type(value).__name__} {value!r} cannot be stored")


def encode(doc: Mapping[str, object]) -> str:
    """Return ``dumps(doc)``. Raises ``StoreRefused`` for what it cannot write."""
    try:
        return dumps(doc)
    except (TypeError, ValueError) as error:
        raise StoreRefused(f"document {doc.get('_key', '')}: {error}") from error


def loads(text: str | bytes) -> object:
    """Parse JSON text: integers become int, other numbers Decimal."""
    return json.loads(text, parse_float=Decimal)


def decode(text: object) -> Document:
    """Parse a stored text (str or bytes) as a document."""
    value = loads(text) if isinstance(text, (str, bytes)) else text
    if not isinstance(value, dict):
        raise TypeError(f"a stored document is an object, not {type(value).__name__}")
    return value


def without_key(doc: Mapping[str, object]) -> Document:
    """Return a transfer or an alert without ``_key``: the store derives its own key from the id."""
    return {name: value for name, value in doc.items() if name != "_key"}


def text_of(doc: Mapping[str, object], name: str) -> str:
    """Return the member ``name``, a string that is not empty. Raises ``StoreRefused``."""
    value = doc.get(name)
    if not isinstance(value, str) or not value:
        raise StoreRefused(f"{name} is {value!r}: a string is needed")
    return value


def integer_of(doc: Mapping[str, object], name: str, least: int = 0) -> int:
    """Return the member ``name``, a 64-bit integer of at least ``least``. Raises ``StoreRefused``."""
    value = doc.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < _INT64:
        raise StoreRefused(f"{name} is {value!r}: an integer from {least} is needed")
    return value


class SnapshotId(NamedTuple):
    """The members of a snapshot that the stores index."""

    key: str
    position_id: str
    seq: int
    symbol: str
    ts: int
    status: str


def snapshot_id(doc: Mapping[str, object]) -> SnapshotId:
    """Return the indexed members of a snapshot. Raises ``StoreRefused`` naming the missing or wrong member."""
    key = text_of(doc, "_key")
    if not KEY.fullmatch(key):
        raise StoreRefused(f"_key {key!r}: 1 to 254 of the characters A-Z a-z 0-9 _-:.@()+,=;$!*'% are allowed")
    position_id = text_of(doc, "position_id")
    seq, ts = integer_of(doc, "seq", least=1), integer_of(doc, "ts")
    return SnapshotId(key, position_id, seq, text_of(doc, "symbol"), ts, text_of(doc, "status"))


def page_size(limit: int) -> int:
    """Return ``limit`` within the bounds of a page."""
    if limit < 1:
        raise StoreRefused(f"limit is {limit}: at least 1 is needed")
    return min(limit, MAX_LIMIT)


def statuses(status: str | Collection[str]) -> Sequence[str]:
    """Return one status or several as a sequence."""
    return [status] if isinstance(status, str) else list(status)


def make_cursor(ts: object, tie: object) -> str:
    """Return the opaque cursor of a document in an order by time (ms) and, among equal times, by ``tie``."""
    return f"{ts}~{tie}"


def read_cursor(cursor: str) -> tuple[int, str]:
    """Return the time and the tie that ``make_cursor`` wrote. Raises ``StoreRefused``."""
    ts, separator, tie = cursor.partition("~")
    if not separator or not re.fullmatch(r"[0-9]{1,18}", ts) or not tie:
        raise StoreRefused(f"cursor {cursor[:80]!r} was not given out by this list")
    return int(ts), tie


def read_number_cursor(cursor: str) -> int:
    """Return the number of a cursor by ``seq``. Raises ``StoreRefused``."""
    if not re.fullmatch(r"[0-9]{1,18}", cursor):
        raise StoreRefused(f"cursor {cursor[:80]!r} was not given out by this list")
    return int(cursor)
