"""What the API answers when all is well."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.unit.web.fakes import NOW, FakeServices, alert, operation, position, snapshot, transfer

Told = Callable[[TestResponse], Any]


def test_one_position(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    services.state.put(position(), operation())
    response = reader.get("/positions/p-1")
    assert response.status_code == 200
    body = told(response)
    assert body.keys() == {"state", "stop", "ladder", "adds", "operation"}
    assert body["state"]["qty"] == Decimal("0.67")
    assert b'"roe":0.5000000000000000000001' in response.get_data()
    assert body["stop"] == {"k": 1, "price": 43000, "qty": Decimal("0.67"), "client_order_id": "SL-abcd",
                            "ts": NOW - 60_000}  # fmt: skip
    assert body["ladder"]["done"] == [0]
    assert body["ladder"]["ladder"][0] == {"roe": Decimal("0.8"), "fraction": Decimal("0.33")}
    assert body["adds"]["count"] == 0
    assert body["operation"]["kind"] == "STOP_MOVE"
    assert body["operation"]["op_id"] == "op-1"


@pytest.mark.parametrize(
    ("changes", "client_order_id"),
    [
        ({"status": "CLOSED", "qty": Decimal(0)}, None),
        ({"sl_order": ""}, None),
        ({"sl_price": None, "sl_order": ""}, None),
        ({"market": "SPOT", "sl_order": ""}, ""),
        ({"self_guarded": True, "sl_order": ""}, ""),
    ],
)
def test_the_stop_that_lives(
    services: FakeServices, reader: FlaskClient, told: Told, changes: dict[str, Any], client_order_id: str | None
) -> None:
    services.state.put(position(**changes))
    body = told(reader.get("/positions/p-1"))
    assert body["operation"] is None
    if client_order_id is None:
        assert body["stop"] is None
    else:
        assert body["stop"]["client_order_id"] == client_order_id


def test_no_ladder_is_null(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    services.state.put(position(ladder="[]"))
    assert told(reader.get("/positions/p-1"))["ladder"] is None


@pytest.mark.parametrize("name", ["p-2", ".hidden", "a" * 65, "ü"])
def test_no_such_position(reader: FlaskClient, told: Told, name: str) -> None:
    for path in (f"/positions/{name}", f"/positions/{name}/timeline"):
        response = reader.get(path)
        assert response.status_code == 404
        assert told(response)["code"] == "NOT_FOUND"


def test_positions_page_by_page(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    names = [f"p-{n:04}" for n in range(1203)]
    for n, name in enumerate(names):
        services.state.put(
            position(name, symbol="ETHUSDT" if n % 100 == 0 else "BTCUSDT", status="CLOSED" if n % 2 else "OPEN")
        )
    found: list[str] = []
    cursor = ""
    while True:
        page = told(reader.get(f"/positions?limit=500&cursor={cursor}"))
        found += [item["position_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == names
    few = told(reader.get("/positions?symbol=ETHUSDT&status=OPEN&market=FUT"))
    assert [item["position_id"] for item in few["items"]] == names[::100]
    assert few["next_cursor"] is None


def test_a_full_last_page_ends_the_list(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    for name in ("a", "b"):
        services.state.put(position(name))
    assert told(reader.get("/positions?limit=2"))["next_cursor"] is None


def test_timeline_reads_on_where_the_store_ends(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    services.state.put(position())
    services.store.docs = [snapshot(n) for n in range(1, 6)]
    services.state.waiting = [snapshot(n) for n in range(4, 9)]
    seqs: list[int] = []
    cursor = ""
    while True:
        page = told(reader.get(f"/positions/p-1/timeline?limit=3&cursor={cursor}"))
        assert len(page["items"]) <= 3
        seqs += [item["seq"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seqs == list(range(1, 9))


def test_a_position_without_snapshots_has_an_empty_timeline(
    services: FakeServices, reader: FlaskClient, told: Told
) -> None:
    services.state.put(position())
    assert told(reader.get("/positions/p-1/timeline")) == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("action", ["EVAL", "PLAN", "EXIT", "PAUSE", "RESUME"])
def test_manage(services: FakeServices, operator: FlaskClient, told: Told, action: str) -> None:
    response = operator.post(
        "/positions/manage",
        json={"symbol": "BTCUSDT", "market": "FUT", "position_id": "p-1", "actions": [action], "reason": " look "},
    )
    assert response.status_code == 200
    body = told(response)
    assert body["plan"]["actions"][0] == {"type": "STOP_MOVE", "old": 43000, "new": 44000}
    assert body["orders"][0] == {"kind": "CANCEL", "target": "SL-abcd"}
    assert services.commands.calls == [("p-1", "BTCUSDT", "FUT", action, "olga", "look")]


def test_alerts_and_their_acknowledgement(
    services: FakeServices, reader: FlaskClient, operator: FlaskClient, told: Told
) -> None:
    services.alerts.docs = [alert("a-1"), alert("a-2", "WARN")]
    assert [a["alert_id"] for a in told(reader.get("/alerts"))["items"]] == ["a-1", "a-2"]
    assert [a["alert_id"] for a in told(reader.get("/alerts?standing=true"))["items"]] == ["a-1"]
    assert [a["alert_id"] for a in told(reader.get("/alerts?severity=WARN"))["items"]] == ["a-2"]
    for _ in range(2):
        response = operator.post("/alerts/a-1/ack", json={"by": "olga", "note": "seen"})
        assert response.status_code == 200
        assert told(response)["ack"]["by"] == "olga"
    assert told(reader.get("/alerts?standing=true"))["items"] == []
    assert operator.post("/alerts/a-9/ack", json={"by": "olga"}).status_code == 404


def test_trigger_and_decide(services: FakeServices, treasurer: FlaskClient, reader: FlaskClient, told: Told) -> None:
    response = treasurer.post(
        "/auto-transfer/trigger",
        json={"from": "SPOT", "to": "FUT", "asset": "USDT", "amount": "12.50", "mode": "SEMI", "reason": "thin",
              "transfer_id": "t-1"},
    )  # fmt: skip
    assert response.status_code == 202
    assert told(response) == {
        "transfer_id": "t-1", "status": "PENDING", "amount": Decimal("12.5"), "need": Decimal("300.1"), "mode": "SEMI",
    }  # fmt: skip
    assert services.treasury.calls[0]["by"] == "tom"
    services.treasury.records["t-1"] = transfer("t-1")
    assert told(reader.get("/auto-transfer/t-1"))["status"] == "PENDING"
    response = treasurer.post("/auto-transfer/t-1/approve", json={"approver": "tom", "note": "go"})
    assert (response.status_code, told(response)["status"]) == (200, "APPROVED")
    response = treasurer.post("/auto-transfer/t-1/reject", json={"approver": "tom"})
    assert (response.status_code, told(response)["status"]) == (200, "REJECTED")
    for name in ("t-2", "no way"):
        assert reader.get(f"/auto-transfer/{name}").status_code == 404


def test_nothing_needed_200(services: FakeServices, treasurer: FlaskClient, told: Told) -> None:
    services.treasury.answer = {"status": "NOT_NEEDED", "transfer_id": None, "amount": Decimal(0), "need": Decimal(0)}
    response = treasurer.post(
        "/auto-transfer/trigger", json={"from": "SPOT", "to": "FUT", "asset": "USDT", "reason": "thin"}
    )
    assert (response.status_code, told(response)["status"]) == (200, "NOT_NEEDED")


def test_transfers_by_status(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    services.store.records = [transfer("t-1"), transfer("t-2", "EXECUTED")]
    assert [t["transfer_id"] for t in told(reader.get("/transfers?status=EXECUTED"))["items"]] == ["t-2"]
    assert len(told(reader.get("/transfers"))["items"]) == 2


@pytest.mark.parametrize(("status", "answered"), [("OK", 200), ("DEGRADED", 200), ("DOWN", 503)])
def test_health(services: FakeServices, anyone: FlaskClient, told: Told, status: str, answered: int) -> None:
    services.health.answer["status"] = status
    response = anyone.get("/health")
    assert response.status_code == answered
    assert response.mimetype == "application/json"
    assert told(response)["checks"]["redis"]["latency_ms"] == Decimal("1.25")


def test_live_and_ready(services: FakeServices, anyone: FlaskClient, told: Told) -> None:
    assert (anyone.get("/live").status_code, anyone.get("/ready").status_code) == (200, 200)
    services.health.redis = False
    refused = anyone.get("/ready")
    assert (refused.status_code, told(refused)["code"]) == (503, "STATE_UNAVAILABLE")
    live = anyone.get("/live")
    assert (live.status_code, told(live)) == (200, {"status": "OK"})


def test_metrics_are_prometheus_text(anyone: FlaskClient) -> None:
    response = anyone.get("/metrics")
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"s6_open_positions 1.0" in response.get_data()
