"""Whatever goes wrong, one shape, one stable word, and nothing of the inside."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisDown
from werkzeug.test import TestResponse

from s6.engine.commands import Busy, Mismatch, NotFound
from s6.ports import NeighbourUnavailable, StateUnavailable
from s6.settings import Settings
from s6.store import StoreUnavailable
from s6.treasury import Conflict, InsufficientFunds, TooLarge, TransferInFlight, Unavailable
from tests.unit.web.fakes import HEALTHY, FakeServices, settings
from web import create_app
from web.services import Services

Told = Callable[[TestResponse], Any]
MANAGE = {"symbol": "BTCUSDT", "market": "FUT", "position_id": "p-1", "actions": ["EVAL"]}
TRIGGER = {"from": "SPOT", "to": "FUT", "asset": "USDT", "reason": "thin"}


def assert_problem(response: TestResponse, problem: Any, status: int, code: str) -> None:
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert problem.keys() >= {"type", "title", "status", "detail", "code"}
    assert (problem["status"], problem["code"]) == (status, code)


def test_no_such_route(anyone: FlaskClient, told: Told) -> None:
    for path in ("/nowhere", "/positions/x/ack"):
        response = anyone.get(path)
        assert_problem(response, told(response), 404, "NOT_FOUND")


@pytest.mark.parametrize(("method", "path"), [("PUT", "/health"), ("DELETE", "/positions")])
def test_wrong_methods(anyone: FlaskClient, told: Told, method: str, path: str) -> None:
    response = anyone.open(path, method=method)
    assert_problem(response, told(response), 405, "METHOD_NOT_ALLOWED")
    assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("p-1"), 404, "NOT_FOUND"),
        (Busy("p-1"), 409, "BUSY"),
        (Mismatch({"symbol": "the position's is ETHUSDT"}), 422, "INVALID"),
        (StateUnavailable("no bundle is in force yet"), 503, "STATE_UNAVAILABLE"),
        (RedisDown("10.0.0.7:6379 refused"), 503, "STATE_UNAVAILABLE"),
        (StoreUnavailable("locked"), 503, "STORE_UNAVAILABLE"),
        (OperationalError("amqp down"), 503, "BROKER_UNAVAILABLE"),
        (NeighbourUnavailable("s4", "timeout", 2500), 503, "NEIGHBOUR_UNAVAILABLE"),
        (ZeroDivisionError("secret inside"), 500, "INTERNAL"),
    ],
)
def test_errors_of_governing(
    services: FakeServices, operator: FlaskClient, told: Told, error: Exception, status: int, code: str
) -> None:
    services.commands.error = error
    response = operator.post("/positions/manage", json=MANAGE)
    problem = told(response)
    assert_problem(response, problem, status, code)
    assert ("Retry-After" in response.headers) == (status in (409, 503))
    assert not any(word in response.get_data(as_text=True) for word in ("secret", "Traceback", "10.0.0.7"))
    errors = [{"field": "symbol", "message": "the position's is ETHUSDT"}] if status == 422 else None
    assert problem.get("errors") == errors


def test_a_neighbours_wait_is_passed_on(services: FakeServices, operator: FlaskClient) -> None:
    services.commands.error = NeighbourUnavailable("s4", "429", 2500)
    assert operator.post("/positions/manage", json=MANAGE).headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("error", "status", "code", "retry"),
    [
        (TransferInFlight("tr-0 is PENDING", 30), 409, "TRANSFER_IN_FLIGHT", "30"),
        (InsufficientFunds("SPOT", "too poor"), 409, "INSUFFICIENT_SPOT", None),
        (TooLarge("above max_transfer"), 422, "AMOUNT_TOO_LARGE", None),
        (Conflict("ALREADY_DECIDED", "was rejected"), 409, "ALREADY_DECIDED", None),
        (Unavailable("STORE_UNAVAILABLE", "locked"), 503, "STORE_UNAVAILABLE", "2"),
    ],
)
def test_what_the_treasury_refuses(
    services: FakeServices,
    treasurer: FlaskClient,
    told: Told,
    error: Exception,
    status: int,
    code: str,
    retry: str | None,
) -> None:
    services.treasury.error = error
    response = treasurer.post("/auto-transfer/trigger", json=TRIGGER)
    problem = told(response)
    assert_problem(response, problem, status, code)
    assert response.headers.get("Retry-After") == retry
    fields = ["amount"] if status == 422 else []
    assert [fault["field"] for fault in problem.get("errors", [])] == fields


@pytest.mark.parametrize("path", ["/positions", "/positions/p-1", "/positions/p-1/timeline"])
def test_redis_down_503(services: FakeServices, reader: FlaskClient, told: Told, path: str) -> None:
    services.state.down = True
    response = reader.get(path)
    assert_problem(response, told(response), 503, "STATE_UNAVAILABLE")
    assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("path", ["/positions/p-1/timeline", "/transfers"])
def test_store_down_503(services: FakeServices, reader: FlaskClient, told: Told, path: str) -> None:
    services.store.down = True
    response = reader.get(path)
    assert_problem(response, told(response), 503, "STORE_UNAVAILABLE")


def test_a_house_that_cannot_be_built_yet_is_tried_again() -> None:
    tries: list[int] = []

    def build(_: Settings) -> Services:
        tries.append(1)
        if len(tries) == 1:
            raise RedisDown("cluster away")
        return cast(Services, FakeServices())

    client = create_app(build, settings=settings()).test_client()
    headers = {"Authorization": "Bearer read-token"}
    assert client.get("/positions").status_code == 401
    assert not tries
    assert client.get("/positions", headers=headers).status_code == 503
    assert client.get("/positions", headers=headers).status_code == 200
    assert client.get("/positions", headers=headers).status_code == 200
    assert len(tries) == 2


def test_health_while_the_house_cannot_be_built(told: Told) -> None:
    release = threading.Event()

    def build(_: Settings) -> Services:
        release.wait(5)
        raise RedisDown("cluster away")

    client = create_app(build, settings=settings()).test_client()
    response = client.get("/health")
    release.set()
    assert response.status_code == 503
    body = told(response)
    assert body["status"] == "DOWN"
    assert body["checks"]["redis"]["status"] == "DOWN"
    assert body["checks"].keys() == HEALTHY["checks"].keys()


def test_answers_carry_guards(anyone: FlaskClient) -> None:
    headers = anyone.get("/health").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
