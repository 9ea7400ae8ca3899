"""Generates the OpenAPI 3.1 document from the endpoint table and the validating models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from web.endpoint import Endpoint
from web.problems import MEDIA_TYPE
from web.schemas.health import ProblemDocument

VERSION = "1.0.0"
"""The version of the API, not of the program."""

Json = dict[str, Any]  # JSON schemas and what holds them

_ABOUT = (
    "Governs open positions, futures and spot, from the first fill to the exit. Times are integer milliseconds since"
    " the Unix epoch, UTC; prices, quantities, money and ratios are exact decimals, accepted as JSON numbers or strings"
    " and sent as JSON numbers. Errors are problem documents (RFC 9457)."
)
_REF = "#/components/schemas/{model}"
_TAGS = {
    "service": "Health and metrics, open to everybody.",
    "positions": "Open and closed positions, and governance on demand.",
    "alerts": "What people should know.",
    "transfers": "Money between the spot and the futures wallet.",
}
_PATH_PARAMETERS: Mapping[str, Json] = {
    "position_id": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"},
    "transfer_id": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}$"},
    "alert_id": {"type": "string", "minLength": 1, "maxLength": 128},
}
_DETAILS = {
    400: "The body is not JSON.",
    401: "No valid bearer token.",
    403: "The token lacks the scope.",
    404: "There is no such thing.",
    409: "Not now: `code` says why, `Retry-After` when to come again.",
    413: "The body holds more than 64 KiB.",
    415: "The body is not `application/json`.",
    422: "Fields at fault, each named in `errors`.",
    503: "Something that S6 needs is away; `Retry-After` says when to come again.",
}


def document(endpoints: Iterable[Endpoint]) -> Json:
    """Return the whole document."""
    known = list(endpoints)
    schemas, refs = _schemas(known)
    paths: Json = {}
    for endpoint in known:
        path = re.sub(r"<(\w+)>", r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, refs, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "S6 Position Manager",
            "version": VERSION,
            "description": _ABOUT,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token with a scope: `read`, `ops` or `treasury`; the latter two include `read`.",
                }
            },
        },
    }


Refs = Mapping[type[BaseModel], Json]


def _schemas(endpoints: list[Endpoint]) -> tuple[Json, Refs]:
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemDocument, "serialization"): None}
    for endpoint in endpoints:
        if endpoint.body is not None:
            models[endpoint.body, "validation"] = None
        for answer in endpoint.answers.values():
            if not isinstance(answer, str):
                models[answer, "serialization"] = None
    refs, whole = models_json_schema(list(models), ref_template=_REF, schema_generator=GenerateJsonSchema)
    return whole.get("$defs", {}), {model: ref for (model, _), ref in refs.items() if issubclass(model, BaseModel)}


def _operation(endpoint: Endpoint, refs: Refs, schemas: Json) -> Json:
    operation: Json = {
        "operationId": endpoint.handler.__name__,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "responses": _responses(endpoint, refs),
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.scope is not None:
        operation["security"] = [{"bearer": [endpoint.scope]}]
    if parameters := [*_path_parameters(endpoint.path), *_query_parameters(endpoint.query, schemas)]:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": refs[endpoint.body]}}}
    return operation


def _responses(endpoint: Endpoint, refs: Refs) -> Json:
    responses: Json = {}
    for status, answer in endpoint.answers.items():
        if isinstance(answer, str):
            content: Json = {answer: {"schema": {"type": "string"}}}
        else:
            content = {"application/json": {"schema": refs[answer]}}
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    for status in sorted(_problem_statuses(endpoint)):
        problem = {"schema": refs[ProblemDocument]}
        response = responses.setdefault(str(status), {"description": _DETAILS[status], "content": {}})
        response["content"][MEDIA_TYPE] = problem
    return responses


def _problem_statuses(endpoint: Endpoint) -> set[int]:
    statuses = set(endpoint.problems)
    if endpoint.scope is not None:
        statuses |= {401, 403}
    if endpoint.query is not None:
        statuses |= {422}
    if endpoint.body is not None:
        statuses |= {400, 413, 415, 422}
    return statuses


def _path_parameters(path: str) -> Iterable[Json]:
    for name in re.findall(r"<(\w+)>", path):
        yield {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}


def _query_parameters(model: type[BaseModel] | None, schemas: Json) -> Iterable[Json]:
    if model is None:
        return
    own = model.model_json_schema(ref_template=_REF)
    schemas.update(own.pop("$defs", {}))
    for name, schema in own["properties"].items():
        parameter: Json = {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        if description := schema.pop("description", None):
            parameter["description"] = description
        yield parameter


def _without_null(schema: Json) -> Json:
    """Return the schema without null: a parameter is present or absent, only bodies have null."""
    if "anyOf" not in schema:
        return schema
    kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default", "description")}
    return {**rest, **kinds[0]} if len(kinds) == 1 else {**rest, "anyOf": kinds}
