"""Documents on their way to ArangoDB and back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal

from s6.store.port import Document

_OWN_MEMBERS = ("_id", "_rev", "expires_at")
_SAFE_KEY = re.compile(r"[A-Za-z0-9_\-:@]{1,254}", re.ASCII)


def as_doubles(value: object) -> object:
    """A document as ArangoDB compares it: every number a double."""
    if isinstance(value, Mapping):
        return {name: as_doubles(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_doubles(member) for member in value]
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return float(value)
    return value


def without_own(doc: Mapping[str, object]) -> Document:
    """A document without what ArangoDB and this store have added, but for its ``_key``."""
    return {name: value for name, value in doc.items() if name not in _OWN_MEMBERS}


def key_of(name: str) -> str:
    """A document key for any name: itself where that may stand in a URL's path as it is, else escaped or hashed."""
    if _SAFE_KEY.fullmatch(name):
        return name
    escaped = "".join(c if _SAFE_KEY.fullmatch(c) else "".join(f"={b:02X}" for b in c.encode()) for c in name)
    return escaped if len(escaped) <= 254 else "=sha256-" + hashlib.sha256(name.encode()).hexdigest()
