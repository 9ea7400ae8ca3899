"""Identifies callers by bearer tokens and checks their scopes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple

from s6.settings import ApiToken, Scope
from web.problems import Problem

_IMPLIED: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "ops": frozenset({"ops", "read"}),
    "treasury": frozenset({"treasury", "read"}),
}


class Caller(NamedTuple):
    """The holder of a valid token. ``key`` identifies the token without revealing it."""

    name: str
    scopes: frozenset[Scope]
    key: str


def identify(tokens: Iterable[ApiToken], given: str) -> Caller | None:
    """Return the holder of the token ``given``, with the scopes of all its entries, or None. Runs in constant time."""
    digest = _digest(given)
    name, scopes = "", frozenset[Scope]()
    for entry in tokens:
        if hmac.compare_digest(_digest(entry.token), digest):
            name = name or entry.name
            scopes |= _IMPLIED[entry.scope]
    return Caller(name, scopes, digest.hex()[:32]) if scopes else None


def recall(tokens: Iterable[ApiToken], key: str) -> Caller | None:
    """Return the caller with this ``key``, or None if the settings no longer have the token."""
    token = next((t.token for t in tokens if hmac.compare_digest(_digest(t.token).hex()[:32], key)), None)
    return identify(tokens, token) if token is not None else None


def authorize(tokens: Iterable[ApiToken], header: str | None, scope: Scope) -> Caller:
    """Return the caller behind an ``Authorization`` header. Raises ``Problem`` 401 or 403."""
    scheme, _, given = (header or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Problem(
            401, "UNAUTHORIZED", "a bearer token is needed", headers={"WWW-Authenticate": 'Bearer realm="s6"'}
        )
    caller = identify(tokens, given.strip())
    if caller is None:
        challenge = 'Bearer realm="s6", error="invalid_token"'
        raise Problem(401, "UNAUTHORIZED", "this token is not valid", headers={"WWW-Authenticate": challenge})
    if scope not in caller.scopes:
        challenge = f'Bearer realm="s6", error="insufficient_scope", scope="{scope}"'
        detail = f"this needs the scope {scope}"
        raise Problem(403, "FORBIDDEN", detail, headers={"WWW-Authenticate": challenge})
    return caller


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
