"""Who may do what, and what the others are told."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from s6.settings import load_settings
from tests.unit.web.fakes import FakeServices, position
from web.auth import identify, recall

GUARDED = [
    ("GET", "/positions", "read"),
    ("GET", "/positions/p-1", "read"),
    ("GET", "/positions/p-1/timeline", "read"),
    ("GET", "/alerts", "read"),
    ("GET", "/transfers", "read"),
    ("GET", "/auto-transfer/tr-1", "read"),
    ("POST", "/positions/manage", "ops"),
    ("POST", "/alerts/a-1/ack", "ops"),
    ("POST", "/auto-transfer/trigger", "treasury"),
    ("POST", "/auto-transfer/tr-1/approve", "treasury"),
    ("POST", "/auto-transfer/tr-1/reject", "treasury"),
]


@pytest.mark.parametrize(("method", "path", "scope"), GUARDED)
@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic cmVhZC10b2tlbg==", "Bearer ü"]
)
def test_without_a_valid_token_401(anyone: FlaskClient, method: str, path: str, scope: str, header: str | None) -> None:
    response = anyone.open(path, method=method, headers={} if header is None else {"Authorization": header})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.mimetype == "application/problem+json"


@pytest.mark.parametrize(("method", "path", "scope"), [row for row in GUARDED if row[2] != "read"])
def test_without_the_scope_403(reader: FlaskClient, method: str, path: str, scope: str) -> None:
    response = reader.open(path, method=method)
    assert response.status_code == 403
    assert f'scope="{scope}"' in response.headers["WWW-Authenticate"]


def test_ops_and_treasury_do_not_include_each_other(operator: FlaskClient, treasurer: FlaskClient) -> None:
    assert operator.post("/auto-transfer/trigger").status_code == 403
    assert treasurer.post("/positions/manage").status_code == 403


def test_every_scope_reads(
    services: FakeServices, reader: FlaskClient, operator: FlaskClient, treasurer: FlaskClient
) -> None:
    services.state.put(position())
    for client in (reader, operator, treasurer):
        assert client.get("/positions/p-1").status_code == 200


def test_the_scheme_is_read_in_any_case(anyone: FlaskClient) -> None:
    assert anyone.get("/positions", headers={"Authorization": "bearer read-token"}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/metrics", "/openapi.json", "/docs", "/"])
def test_open_to_everybody(anyone: FlaskClient, path: str) -> None:
    assert anyone.get(path).status_code == 200


def test_a_token_holds_the_scopes_of_all_its_entries() -> None:
    tokens = load_settings({"S6_API_TOKENS": "ann:ops:t-1,ann:treasury:t-1,bob:read:t-2"}).api_tokens
    ann = identify(tokens, "t-1")
    assert ann is not None
    assert ann.name == "ann"
    assert ann.scopes == {"ops", "treasury", "read"}
    assert recall(tokens, ann.key) == ann
    assert identify(tokens, "") is None
    assert recall(tokens, "") is None


def test_no_tokens_nobody_enters() -> None:
    assert identify((), "anything") is None
