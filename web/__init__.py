"""The Flask app of the position manager: the HTTP API, its description, and the panel for people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Flask, Response

from s6.bootstrap import build
from s6.settings import Settings, settings_or_exit
from tasks.hints import CeleryHints
from web import panel, problems
from web.api import alerts, docs, positions, service, table, transfers
from web.endpoint import MAX_BODY
from web.services import LazyServices, Services

__all__ = ["create_app"]

_AREAS = (service, positions, alerts, transfers)  # importing them fills the table
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(factory: Callable[[Settings], Services] | None = None, settings: Settings | None = None) -> Flask:
    """Create the WSGI application. The first request that needs the services builds them, so after the server's fork.

    Parameters
    ----------
    factory
        Builds the services from the settings; the default is ``s6.bootstrap.build``.
    settings
        The default is the environment's. A bad setting ends the process with one line.
    """
    known = settings or settings_or_exit()
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=known.secret_key,
        MAX_CONTENT_LENGTH=MAX_BODY,
        MAX_FORM_MEMORY_SIZE=MAX_BODY,
        SESSION_COOKIE_NAME="s6_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
    )
    app.jinja_options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    app.extensions["s6"] = LazyServices(known, factory or _build)
    problems.install(app)
    table.install(app)
    app.register_blueprint(docs.blueprint)
    panel.install(app)
    app.after_request(_secured)
    return app


def _build(settings: Settings) -> Services:
    return build(settings, CeleryHints())


def _secured(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
