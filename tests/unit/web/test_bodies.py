"""What comes in: every way a body or a query can be wrong has its answer, and numbers keep their digits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.web.fakes import FakeServices

Told = Callable[[TestResponse], Any]
MANAGE = {"symbol": "BTCUSDT", "market": "FUT", "position_id": "p-1", "actions": ["EVAL"], "reason": "look"}
TRIGGER = {"from": "SPOT", "to": "FUT", "asset": "USDT", "reason": "thin"}


def post(client: FlaskClient, raw: bytes | str, path: str = "/positions/manage", **more: Any) -> TestResponse:
    return client.post(path, data=raw, content_type=more.pop("content_type", "application/json"), **more)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"nope",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe{}",
        b"[" * 60_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"{} {}",
    ],
)
def test_malformed_json_400(operator: FlaskClient, told: Told, raw: bytes) -> None:
    response = post(operator, raw)
    assert response.status_code == 400
    assert told(response)["code"] == "MALFORMED_JSON"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_not_json_415(operator: FlaskClient, told: Told, content_type: str) -> None:
    response = post(operator, b"{}", content_type=content_type)
    assert response.status_code == 415
    assert told(response)["code"] == "UNSUPPORTED_MEDIA_TYPE"


def test_a_charset_may_be_named(operator: FlaskClient) -> None:
    assert (
        operator.post("/positions/manage", json=MANAGE, content_type="application/json; charset=utf-8").status_code
        == 200
    )


@pytest.mark.parametrize(("size", "status"), [(65_536, 400), (65_537, 413), (300_000, 413), (3_000_000, 413)])
@pytest.mark.parametrize("announced", [True, False])
def test_over_64_kib_413(operator: FlaskClient, told: Told, size: int, status: int, announced: bool) -> None:
    more: dict[str, Any] = {}
    if not announced:
        more = {"environ_overrides": {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}}
    response = post(operator, b" " * size, **more)
    assert response.status_code == status
    assert told(response)["code"] == ("TOO_LARGE" if status == 413 else "MALFORMED_JSON")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"symbol": "btcusdt"}, "symbol"),
        ({"symbol": "BTCUSDT\n"}, "symbol"),
        ({"symbol": None}, "symbol"),
        ({"market": "OPTIONS"}, "market"),
        ({"position_id": ".hidden"}, "position_id"),
        ({"position_id": "a" * 65}, "position_id"),
        ({"position_id": 7}, "position_id"),
        ({"actions": []}, "actions"),
        ({"actions": ["EVAL", "EXIT"]}, "actions"),
        ({"actions": ["FLY"]}, "actions"),
        ({"actions": "EVAL"}, "actions"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "\ud800"}, "reason"),
        ({"reason": "\x00"}, "reason"),
        ({"force": True}, "force"),
    ],
)
def test_a_field_at_fault_422(operator: FlaskClient, told: Told, change: dict[str, Any], field: str) -> None:
    response = operator.post("/positions/manage", json=MANAGE | change)
    assert response.status_code == 422
    problem = told(response)
    assert problem["code"] == "INVALID"
    assert [error["field"] for error in problem["errors"]] == [field]
    assert problem["errors"][0]["message"]


@pytest.mark.parametrize("missing", ["symbol", "market", "position_id", "actions"])
def test_a_missing_field_422(operator: FlaskClient, told: Told, missing: str) -> None:
    response = operator.post("/positions/manage", json={k: v for k, v in MANAGE.items() if k != missing})
    assert response.status_code == 422
    assert told(response)["errors"] == [{"field": missing, "message": "is required"}]


def test_what_is_allowed_is_named(operator: FlaskClient, told: Told) -> None:
    problem = told(operator.post("/positions/manage", json=MANAGE | {"market": "OPTIONS"}))
    assert problem["errors"][0]["allowed"] == ["FUT", "SPOT"]


@pytest.mark.parametrize("raw", ["[]", "null", '"text"', "7"])
def test_json_but_no_object_422(operator: FlaskClient, told: Told, raw: str) -> None:
    response = post(operator, raw)
    assert response.status_code == 422
    assert told(response)["errors"][0]["field"] == "body"


@pytest.mark.parametrize(
    ("amount", "exact"),
    [
        ("0.10000000000000001", "0.10000000000000001"),
        ('"0.10000000000000001"', "0.10000000000000001"),
        ("9007199254740993", "9007199254740993"),
        ("1e2", "100"),
        ('"+5.50"', "5.5"),
    ],
)
def test_decimals_keep_their_digits(
    services: FakeServices, treasurer: FlaskClient, told: Told, amount: str, exact: str
) -> None:
    body = f'{{"from":"SPOT","to":"FUT","asset":"USDT","reason":"r","amount":{amount}}}'
    response = post(treasurer, body, "/auto-transfer/trigger")
    assert response.status_code == 202
    assert services.treasury.calls[0]["amount"] == Decimal(exact)
    assert f'"amount":{exact},'.encode() in response.get_data()


def test_no_amount_is_for_the_treasury_to_decide(services: FakeServices, treasurer: FlaskClient) -> None:
    body = '{"from":"SPOT","to":"FUT","asset":"USDT","reason":"r","amount":null}'
    assert post(treasurer, body, "/auto-transfer/trigger").status_code == 202
    assert services.treasury.calls[0]["amount"] is None


@pytest.mark.parametrize(
    "amount",
    ["0", "-1", '"1_000"', '"NaN"', '"Infinity"', '""', "true", "1e999999999", "1e-999999999", '"ten"', "[]",
     '"１"', "0.0000000000000000001"],
)  # fmt: skip
def test_what_is_no_amount_422(treasurer: FlaskClient, told: Told, amount: str) -> None:
    body = f'{{"from":"SPOT","to":"FUT","asset":"USDT","reason":"r","amount":{amount}}}'
    response = post(treasurer, body, "/auto-transfer/trigger")
    assert response.status_code == 422
    assert told(response)["errors"][0]["field"] == "amount"


@pytest.mark.parametrize("missing", ["from", "to", "asset", "reason"])
def test_what_a_trigger_needs(treasurer: FlaskClient, told: Told, missing: str) -> None:
    response = treasurer.post("/auto-transfer/trigger", json={k: v for k, v in TRIGGER.items() if k != missing})
    assert response.status_code == 422
    assert told(response)["errors"][0]["field"] == missing


@pytest.mark.parametrize("blank", ["", "   "])
def test_a_decision_has_a_name_to_it(treasurer: FlaskClient, told: Told, blank: str) -> None:
    response = treasurer.post("/auto-transfer/tr-1/approve", json={"approver": blank})
    assert response.status_code == 422
    assert told(response)["errors"][0]["field"] == "approver"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("market=X", "market"),
        ("status=GONE", "status"),
        ("symbol=b", "symbol"),
        ("cursor=a/b", "cursor"),
        ("colour=red", "colour"),
    ],
)
def test_a_query_at_fault_422(reader: FlaskClient, told: Told, query: str, field: str) -> None:
    response = reader.get(f"/positions?{query}")
    assert response.status_code == 422
    assert told(response)["errors"][0]["field"] == field


@pytest.mark.parametrize("path", ["/positions/p-1/timeline", "/alerts", "/transfers"])
def test_a_foreign_cursor_422(reader: FlaskClient, told: Told, path: str) -> None:
    response = reader.get(f"{path}?cursor=nonsense")
    assert response.status_code == 422
    assert told(response)["errors"][0]["field"] == "cursor"


def test_empty_parameters_count_as_absent(reader: FlaskClient) -> None:
    assert reader.get("/positions?symbol=&market=&status=&limit=&cursor=").status_code == 200


@pytest.mark.parametrize("number", ["1e9999999999999999999", "1" * 65, "1e19", "-1e-9999999999999999999"])
def test_a_number_beyond_all_sizes_names_its_field(treasurer: FlaskClient, told: Told, number: str) -> None:
    body = f'{{"from":"SPOT","to":"FUT","asset":"USDT","reason":"r","amount":{number}}}'
    response = post(treasurer, body, "/auto-transfer/trigger")
    assert response.status_code == 422
    assert [error["field"] for error in told(response)["errors"]] == ["amount"]
