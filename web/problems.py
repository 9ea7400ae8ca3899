"""Errors as RFC 9457 problem documents, so that a client gets every error in one shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from flask import Flask, Response, request
from kombu.exceptions import KombuError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from redis.exceptions import RedisError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from s6.engine import commands
from s6.ports import NeighbourUnavailable, StateUnavailable
from s6.store import StoreError
from s6.treasury import Refusal
from web import jsonio

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
}

FieldFault = Mapping[str, object]


class Problem(Exception):
    """An error answer. ``code`` is the stable word on which programs may act."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    def document(self) -> dict[str, object]:
        """Return the problem document."""
        document: dict[str, object] = {
            "type": f"urn:s6:problem:{self.code.lower().replace('_', '-')}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            document["errors"] = list(self.errors)
        return document

    def response(self) -> Response:
        return Response(jsonio.dumps(self.document()), self.status, dict(self.headers), content_type=MEDIA_TYPE)


def of_status(status: int, detail: str) -> Problem:
    """Return the error with the usual code of its HTTP status."""
    return Problem(status, _CODES.get(status, HTTPStatus(status).name), detail)


def not_found(detail: str) -> Problem:
    return Problem(404, "NOT_FOUND", detail)


def busy(code: str, detail: str, retry_after_s: int = 1) -> Problem:
    """Return a 409 that asks the client to try again soon."""
    return Problem(409, code, detail, headers={"Retry-After": str(max(1, retry_after_s))})


def unavailable(code: str, detail: str, retry_after_s: int = 1) -> Problem:
    """Return a 503: a dependency of S6 is unavailable."""
    return Problem(503, code, detail, headers={"Retry-After": str(max(1, retry_after_s))})


def invalid(*faults: FieldFault) -> Problem:
    """Return a 422 that names each field at fault."""
    names = ", ".join(str(fault["field"]) for fault in faults)
    return Problem(422, "INVALID", f"not as it should be: {names}", errors=faults)


def from_validation(error: ValidationError, whole: str = "body") -> Problem:
    """Return the 422 for a pydantic error. ``whole`` names the value itself if no field is at fault."""
    return invalid(*(_field_fault(details, whole) for details in error.errors(include_url=False)))


def _field_fault(details: ErrorDetails, whole: str) -> FieldFault:
    fault: dict[str, object] = {"field": str(next(iter(details["loc"]), whole))}
    context = details.get("ctx", {})
    match details["type"]:
        case "missing":
            fault["message"] = "is required"
        case "extra_forbidden":
            fault["message"] = "is not a known field"
        case "literal_error":
            fault["message"] = f"must be {context['expected']}"
            fault["allowed"] = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ",").split(",")]
        case "string_pattern_mismatch":
            fault["message"] = f"must match {context['pattern']}"
        case "value_error":
            fault["message"] = str(context["error"])
        case _:
            message = details["msg"]
            fault["message"] = message[:1].lower() + message[1:]
    return fault


def as_problem(error: Exception) -> Problem:
    """Return the answer to a view's ``error``. An unforeseen error is logged, and its answer reveals nothing."""
    match error:
        case Problem():
            return error
        case commands.NotFound():
            return not_found(f"there is no position {str(error)[:80]}")
        case commands.Busy():
            return busy("BUSY", "the position is being governed right now", error.retry_after_s)
        case commands.Mismatch():
            return invalid(*({"field": name, "message": text} for name, text in error.fields.items()))
        case StateUnavailable() if not isinstance(error.__cause__, RedisError):
            return unavailable("STATE_UNAVAILABLE", str(error))
        case StateUnavailable() | RedisError():
            return unavailable("STATE_UNAVAILABLE", "the live state (Redis) cannot be reached")
        case KombuError():
            return unavailable("BROKER_UNAVAILABLE", "the broker cannot be reached")
        case Refusal():
            return _from_treasury(error)
        case StoreError():
            log.warning("%s %s: store: %s", request.method, request.path, error)
            return unavailable("STORE_UNAVAILABLE", "the history store cannot be reached")
        case NeighbourUnavailable():
            wait_ms = error.retry_after_ms or 1000
            return unavailable("NEIGHBOUR_UNAVAILABLE", f"{error.name} gives no usable answer", -(-wait_ms // 1000))
        case HTTPException():
            return _from_http(error)
        case _:
            log.error("%s %s failed", request.method, request.path, exc_info=error)
            return Problem(500, "INTERNAL", "an unexpected error; the log has details")


def _from_treasury(refusal: Refusal) -> Problem:
    errors = [{"field": refusal.field, "message": refusal.detail}] if refusal.field else []
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    return Problem(refusal.status, refusal.code, refusal.detail, errors=errors, headers=headers)


def _from_http(error: HTTPException) -> Problem:
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    if isinstance(error, RequestEntityTooLarge):
        return Problem(413, "TOO_LARGE", "a body may hold 64 KiB at most")
    detail = {
        404: f"there is nothing at {request.path[:200]}",
        405: f"{request.method} is not allowed here",
    }.get(status, error.description or HTTPStatus(status).phrase)
    return Problem(status, _CODES.get(status, HTTPStatus(status).name), detail, headers=headers)


def install(app: Flask) -> None:
    """Make the app answer every error with a problem document."""

    def answer(error: Exception) -> AnyResponse:
        if isinstance(error, HTTPException) and (error.code is None or error.code < 400):
            return error.get_response()
        return as_problem(error).response()

    app.register_error_handler(Exception, answer)
