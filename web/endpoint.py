"""A table of endpoints. Each entry guards and parses its requests, and describes itself in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, get_type_hints

from flask import Flask, Response, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from s6.settings import Scope
from web import auth, jsonio
from web.problems import Problem, from_validation, invalid
from web.services import Services, lazy_services, services

MAX_BODY = 64 * 1024
READ_AT_MOST = 1024 * 1024
_PIECE = 64 * 1024


class Reply(NamedTuple):
    """A handler's answer. ``content`` consists of plain values, Decimals and frozen records; text is sent unchanged."""

    content: object
    status: int = 200
    headers: Mapping[str, str] = {}
    media_type: str = "application/json"


@dataclass(frozen=True)
class Call:
    """One request that has passed its guards."""

    caller: auth.Caller | None

    @property
    def services(self) -> Services:
        """The position manager's services. Raises ``StateUnavailable`` while they cannot be built."""
        return services()

    @property
    def who(self) -> str:
        """The caller's name for timelines and logs."""
        return self.caller.name if self.caller else ""


Handler = Callable[..., Reply]


@dataclass(frozen=True)
class Endpoint:
    """One method on one path.

    ``scope`` None opens it to all. ``problems`` are error statuses besides the usual ones.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    description: str
    scope: Scope | None
    answers: Mapping[int, type[BaseModel] | str]
    problems: tuple[int, ...] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None

    def __call__(self, **path: str) -> Response:
        caller = None
        if self.scope is not None:
            caller = auth.authorize(
                lazy_services().settings.api_tokens, request.headers.get("Authorization"), self.scope
            )
        arguments: dict[str, object] = dict(path)
        if self.query is not None:
            arguments["query"] = _query(self.query)
        if self.body is not None:
            arguments["body"] = _body(self.body)
        return respond(self.handler(Call(caller), **arguments))


def respond(reply: Reply) -> Response:
    """Return the reply as an HTTP response."""
    text = reply.content if isinstance(reply.content, str) else jsonio.dumps(reply.content)
    return Response(text, reply.status, dict(reply.headers), content_type=reply.media_type)


@dataclass
class Table:
    """The endpoints in order of declaration."""

    endpoints: list[Endpoint] = field(default_factory=list)

    def add(
        self,
        method: str,
        path: str,
        *,
        tag: str,
        answers: Mapping[int, type[BaseModel] | str],
        scope: Scope | None = None,
        problems: tuple[int, ...] = (),
    ) -> Callable[[Handler], Handler]:
        """Declare an endpoint.

        The handler takes the call and the path's parameters by name. If it has parameters ``query`` and ``body``, their
        annotations are the models that validate them. Its docstring is the endpoint's description, the first line the
        summary.
        """

        def declare(handler: Handler) -> Handler:
            hints = get_type_hints(handler)
            summary, _, description = (handler.__doc__ or "").strip().partition("\n")
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=path,
                    handler=handler,
                    tag=tag,
                    summary=summary.rstrip("."),
                    description=" ".join(description.split()),
                    scope=scope,
                    answers=answers,
                    problems=problems,
                    query=hints.get("query"),
                    body=hints.get("body"),
                )
            )
            return handler

        return declare

    def install(self, app: Flask) -> None:
        """Serve the endpoints."""
        for endpoint in self.endpoints:
            name = f"api.{endpoint.handler.__name__}"
            app.add_url_rule(endpoint.path, name, endpoint, methods=[endpoint.method])


def _query(model: type[BaseModel]) -> BaseModel:
    values: dict[str, str] = {}
    for name, given in request.args.lists():
        if len(given) > 1:
            raise invalid({"field": name, "message": "is given more than once"})
        if given[0] != "":
            values[name] = given[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise from_validation(error, "query") from None


def _raw_body() -> bytes:
    """Read the body, with or without an announced length. Raises ``RequestEntityTooLarge``.

    It reads some of a body that is too long, because the server closes a connection with much left unread, and a client
    that sends its next request just then would get neither answer.
    """
    if (request.content_length or 0) > READ_AT_MOST:
        raise RequestEntityTooLarge
    request.max_content_length = READ_AT_MOST + 1  # Werkzeug would truncate a body of unannounced length
    pieces: list[bytes] = []
    length = 0
    while length < READ_AT_MOST and (piece := request.stream.read(min(_PIECE, READ_AT_MOST - length))):
        length += len(piece)
        pieces.append(piece)
    if length > MAX_BODY:
        raise RequestEntityTooLarge
    return b"".join(pieces)


def _body(model: type[BaseModel]) -> BaseModel:
    if request.mimetype != "application/json":
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "the body must be application/json")
    try:
        value = jsonio.loads(_raw_body())
    except jsonio.Malformed as error:
        raise Problem(400, "MALFORMED_JSON", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid({"field": "body", "message": "must be a JSON object"})
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise from_validation(error) from None
