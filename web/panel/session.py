"""Sessions of the panel: an API token signs in, and a signed cookie holds the caller's key, never the token."""

from __future__ import annotations

import hmac
import secrets
from typing import cast

from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface

from s6.settings import Scope
from web.auth import Caller, identify, recall
from web.problems import Problem
from web.services import lazy_services


class PanelSessions(SecureCookieSessionInterface):
    """Marks a cookie `Secure` if the request came over TLS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def sign_in(token: str) -> Caller | None:
    """Begin a session for the holder of ``token``. Returns the caller, or None without a session if it is invalid."""
    caller = identify(lazy_services().settings.api_tokens, token.strip())
    session.clear()
    if caller is not None:
        session.permanent = True
        session["key"] = caller.key
        session["csrf"] = secrets.token_urlsafe(24)
    return caller


def sign_out() -> None:
    session.clear()


def current() -> Caller | None:
    """Return the caller who is signed in, or None. A session ends with its token."""
    key = session.get("key")
    return recall(lazy_services().settings.api_tokens, key) if isinstance(key, str) else None


def csrf_token() -> str:
    """Return the token that a form of this sign-in must send back."""
    return cast(str, session.get("csrf", ""))


def refuse_foreign() -> None:
    """Raise 403 for a form that another site sent."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Problem(403, "FORBIDDEN", "this form came from another site")


def acting(scope: Scope) -> Caller:
    """Return the caller behind this form. Raises 401 without a session, 403 without the form token or the scope."""
    refuse_foreign()
    caller = current()
    if caller is None:
        raise Problem(401, "UNAUTHORIZED", "you are not signed in")
    expected = csrf_token()
    if not expected or not hmac.compare_digest(expected.encode(), request.form.get("csrf", "").encode()):
        raise Problem(403, "FORBIDDEN", "this form is too old: load the page again")
    if scope not in caller.scopes:
        raise Problem(403, "FORBIDDEN", f"your token lacks the scope {scope}")
    return caller
