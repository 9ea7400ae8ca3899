"""The API's description, for programs and for people. Its package serves Swagger UI; the page loads nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, render_template, send_from_directory

from s6.model import jsonx
from web.api import table
from web.openapi import document

blueprint = Blueprint("docs", __name__)

_ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
_SERVED = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"})
# Swagger UI sets inline styles on its elements.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return Response(_document(), content_type="application/json")


@blueprint.get("/docs")
def docs() -> Response:
    return Response(render_template("docs.html"), headers={"Content-Security-Policy": _POLICY})


@blueprint.get("/docs/assets/<name>")
def asset(name: str) -> Response:
    return send_from_directory(_ASSETS, name if name in _SERVED else "-", max_age=86400)


@cache
def _document() -> str:
    return jsonx.dumps(document(table.endpoints))
