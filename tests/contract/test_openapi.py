"""The published description and the service agree: every answer is one that the description knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import jsonschema_rs
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from s6.engine.commands import Busy
from s6.treasury import TransferInFlight
from tests.unit.web.fakes import FakeServices, alert, operation, position, snapshot, transfer
from web import create_app
from web.services import Services

Json = Any  # what json.loads gives
TOKENS = {"read": "read-token", "ops": "ops-token", "treasury": "treasury-token"}


@pytest.fixture(scope="module")
def services() -> FakeServices:
    services = FakeServices()
    services.state.put(position("p-1"), operation())
    services.state.put(position("p-2", status="CLOSED", ladder="", sl_price=None, sl_order=""))
    services.store.docs = [snapshot(n) for n in range(1, 4)]
    services.store.records = [transfer("t-1"), transfer("t-2", "EXECUTED")]
    services.alerts.docs = [alert()]
    services.treasury.records = {"t-1": services.store.records[0]}
    return services


@pytest.fixture(scope="module")
def app(services: FakeServices) -> Flask:
    return create_app(lambda _: cast(Services, services), settings=services.settings)


@pytest.fixture(scope="module")
def described(app: Flask) -> Json:
    return json.loads(app.test_client().get("/openapi.json").get_data())


@pytest.fixture(scope="module")
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def operations(described: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in described["paths"].items():
        for method, operation_ in methods.items():
            yield path, method.upper(), operation_


def validator(described: Json, schema: Json) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**schema, "components": described["components"]})


def check(described: Json, operation_: Json, response: TestResponse) -> None:
    """The status is a described one, and so are the media type and what the body holds."""
    known = operation_["responses"]
    assert str(response.status_code) in known, f"{response.status_code} is not described"
    content = known[str(response.status_code)]["content"]
    assert response.mimetype in content, f"{response.mimetype} is not described"
    if str(response.mimetype).endswith("json"):
        faults = [
            f"{error.instance_path}: {error.message}"
            for error in validator(described, content[response.mimetype]["schema"]).iter_errors(
                json.loads(response.get_data())
            )
        ]
        assert not faults
    else:
        assert response.get_data()


def send(client: FlaskClient, operation_: Json, method: str, path: str, **more: Any) -> TestResponse:
    scopes = operation_.get("security", [{}])[0].get("bearer", [])
    headers = {"Authorization": f"Bearer {TOKENS[scopes[0]]}"} if scopes else {}
    return client.open(path, method=method, headers=headers, **more)


def of(described: Json, path: str, method: str) -> Json:
    return described["paths"][path][method.lower()]


def test_it_is_openapi_3_1(described: Json) -> None:
    assert re.fullmatch(r"3\.1\.\d+", described["openapi"])
    assert described["info"]["title"]
    assert described["info"]["version"]
    ids = [operation_["operationId"] for _, _, operation_ in operations(described)]
    assert len(ids) == len(set(ids)) == 15
    for path, method, operation_ in operations(described):
        assert operation_["summary"], (method, path)
        parameters = {p["name"] for p in operation_.get("parameters", []) if p["in"] == "path"}
        assert parameters == set(re.findall(r"{(\w+)}", path))


def test_every_schema_holds_together(described: Json) -> None:
    for name in described["components"]["schemas"]:
        validator(described, {"$ref": f"#/components/schemas/{name}"})
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(described)))
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in described["components"]["schemas"]


def test_every_route_of_the_api_is_described(app: Flask, described: Json) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
        for method in rule.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert served == {(path, method) for path, method, _ in operations(described)}


MANAGE = {"symbol": "BTCUSDT", "market": "FUT", "position_id": "p-1", "actions": ["EVAL"], "reason": "look"}
TRIGGER = {"from": "SPOT", "to": "FUT", "asset": "USDT", "reason": "thin"}
GOOD: list[tuple[str, str, str, Json]] = [
    ("GET", "/live", "/live", None),
    ("GET", "/ready", "/ready", None),
    ("GET", "/health", "/health", None),
    ("GET", "/metrics", "/metrics", None),
    ("GET", "/positions", "/positions", None),
    ("GET", "/positions", "/positions?limit=1&market=FUT", None),
    ("GET", "/positions/{position_id}", "/positions/p-1", None),
    ("GET", "/positions/{position_id}", "/positions/p-2", None),
    ("GET", "/positions/{position_id}/timeline", "/positions/p-1/timeline?limit=2", None),
    ("GET", "/alerts", "/alerts", None),
    ("GET", "/transfers", "/transfers", None),
    ("GET", "/auto-transfer/{transfer_id}", "/auto-transfer/t-1", None),
    ("POST", "/positions/manage", "/positions/manage", MANAGE),
    ("POST", "/alerts/{alert_id}/ack", "/alerts/a-1/ack", {"by": "olga"}),
    ("POST", "/auto-transfer/trigger", "/auto-transfer/trigger", TRIGGER | {"amount": "12.5", "mode": "AUTO"}),
    ("POST", "/auto-transfer/{transfer_id}/approve", "/auto-transfer/t-1/approve", {"approver": "tom"}),
    ("POST", "/auto-transfer/{transfer_id}/reject", "/auto-transfer/t-1/reject", {"approver": "tom"}),
]
GUARDED = [row for row in GOOD if row[1] not in ("/live", "/ready", "/health", "/metrics")]


@pytest.mark.parametrize(("method", "path", "url", "body"), GOOD)
def test_what_is_well_is_as_described(
    described: Json, client: FlaskClient, method: str, path: str, url: str, body: Json
) -> None:
    operation_ = of(described, path, method)
    response = send(client, operation_, method, url, **({} if body is None else {"json": body}))
    assert response.status_code in (200, 202)
    check(described, operation_, response)


@pytest.mark.parametrize(("method", "path", "url", "body"), [row for row in GOOD if row[3] is not None])
def test_what_is_sent_well_is_as_described(described: Json, method: str, path: str, url: str, body: Json) -> None:
    schema = of(described, path, method)["requestBody"]["content"]["application/json"]["schema"]
    assert validator(described, schema).is_valid(body)


@pytest.mark.parametrize(("method", "path", "url", "body"), GUARDED)
def test_what_is_refused_is_as_described(
    described: Json, client: FlaskClient, method: str, path: str, url: str, body: Json
) -> None:
    operation_ = of(described, path, method)
    check(described, operation_, client.open(url, method=method))
    if body is not None:
        check(described, operation_, client.open(url, method=method, headers={"Authorization": "Bearer read-token"}))
        for raw, kind in ((b"{", "application/json"), (b"{}", "text/plain"), (b" " * 70_000, "application/json")):
            check(described, operation_, send(client, operation_, method, url, data=raw, content_type=kind))
        check(described, operation_, send(client, operation_, method, url, json={**body, "more": 1}))
    elif "limit" in json.dumps(operation_.get("parameters", [])):
        check(described, operation_, send(client, operation_, method, url.partition("?")[0] + "?limit=0"))


@pytest.mark.parametrize("down", ["state", "store"])
@pytest.mark.parametrize(("method", "path", "url", "body"), GUARDED)
def test_what_is_away_is_as_described(
    described: Json,
    services: FakeServices,
    client: FlaskClient,
    method: str,
    path: str,
    url: str,
    body: Json,
    down: str,
) -> None:
    operation_ = of(described, path, method)
    part = services.state if down == "state" else services.store
    part.down = True
    try:
        response = send(client, operation_, method, url, **({} if body is None else {"json": body}))
    finally:
        part.down = False
    check(described, operation_, response)


def test_conflicts_are_as_described(described: Json, services: FakeServices, client: FlaskClient) -> None:
    services.commands.error, services.treasury.error = Busy("p-1"), TransferInFlight("t-0 is PENDING", 30)
    try:
        for path, body in (("/positions/manage", MANAGE), ("/auto-transfer/trigger", TRIGGER)):
            response = send(client, of(described, path, "POST"), "POST", path, json=body)
            assert response.status_code == 409
            check(described, of(described, path, "POST"), response)
    finally:
        services.commands.error = services.treasury.error = None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["FUT", "EVAL", "BTCUSDT"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150)
@given(data=st.data())
def test_no_body_is_too_strange(described: Json, client: FlaskClient, data: st.DataObject) -> None:
    """A good body with members replaced, removed and put beside: always a described answer, never a failure."""
    method, path, url, body = data.draw(st.sampled_from([row for row in GOOD if row[3] is not None]))
    changed = {**body, **data.draw(st.dictionaries(st.sampled_from([*body, "amount", "note", "x"]), json_values))}
    for name in data.draw(st.sets(st.sampled_from(sorted(body)))):
        changed.pop(name, None)
    operation_ = of(described, path, method)
    schema = operation_["requestBody"]["content"]["application/json"]["schema"]
    raw = json.dumps(changed)
    response = send(client, operation_, method, url, data=raw, content_type="application/json")
    check(described, operation_, response)
    if response.status_code < 300:
        assert validator(described, schema).is_valid(changed)
