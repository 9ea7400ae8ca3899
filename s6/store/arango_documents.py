"""Converts documents for ArangoDB and back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal

from s6.store.port import Document

_OWN_MEMBERS = ("_id", "_rev", "expires_at")
_SAFE_KEY = re.compile(r"[A-Za-z0-9_\-:@]{1,254}", re.ASCII)


def as_doubles(value: object) -> object:
    """Return a document as ArangoDB compares it, with every number a double."""
    if isinstance(value, Mapping):
        return {name: as_doubles(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_doubles(member) for member in value]
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return float(value)
    return value


def without_own(doc: Mapping[str, object]) -> Document:
    """Return a document with its ``_key`` but without the other members that ArangoDB and this store add."""
    return {name: value for name, value in doc.items() if name not in _OWN_MEMBERS}


def key_of(name: str) -> str:
    """Return a document key for any name: the name itself if a URL's path can hold it, else escaped or hashed."""
    if _SAFE_KEY.fullmatch(name):
        return name
    escaped = "".join(c if _SAFE_KEY.fullmatch(c) else "".join(f"={b:02X}" for b in c.encode()) for c in name)
    return escaped if len(escaped) <= 254 else "=sha256-" + hashlib.sha256(name.encode()).hexdigest()
