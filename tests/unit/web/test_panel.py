"""The panel: signing in, what it shows of a good and a bad day, and what may be done with it."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis.exceptions import ConnectionError as RedisDown

from s6.engine.commands import Busy
from s6.model.market import Tick
from tests.unit.web.fakes import NOW, FakeServices, alert, operation, position, snapshot, transfer


def enter(app: Flask, token: str) -> FlaskClient:
    client = app.test_client()
    response = client.post("/panel/sign-in", data={"token": token})
    assert response.status_code == 303
    return client


def csrf(client: FlaskClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/").get_data(as_text=True))
    assert found is not None
    return found[1]


@pytest.fixture
def ops(app: Flask) -> FlaskClient:
    return enter(app, "ops-token")


@pytest.fixture
def treasury(app: Flask) -> FlaskClient:
    return enter(app, "treasury-token")


def text(client: FlaskClient, path: str = "/") -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.get_data(as_text=True)


def test_without_a_session_there_is_only_the_door(anyone: FlaskClient, services: FakeServices) -> None:
    services.state.put(position("secret-position"))
    assert "Sign in" in text(anyone)
    assert "secret-position" not in text(anyone)
    assert anyone.get("/panel/overview").status_code == 401
    assert anyone.get("/panel/positions/secret-position").headers["Location"] == "/"
    assert anyone.get("/panel/positions/secret-position/part").status_code == 401


@pytest.mark.parametrize("token", ["", "wrong", "ops-token-", "Ops-token"])
def test_a_wrong_token_opens_nothing(anyone: FlaskClient, token: str) -> None:
    response = anyone.post("/panel/sign-in", data={"token": token})
    assert response.status_code == 401
    assert "not valid" in response.get_data(as_text=True)
    assert anyone.get("/panel/overview").status_code == 401


def test_the_cookie_is_guarded_and_holds_no_token(app: Flask) -> None:
    response = app.test_client().post("/panel/sign-in", data={"token": "ops-token"})
    cookie = response.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "ops-token" not in cookie
    secure = app.test_client().post("/panel/sign-in", data={"token": "ops-token"}, base_url="https://s6.example")
    assert "Secure" in secure.headers["Set-Cookie"]


def test_signing_out(ops: FlaskClient) -> None:
    assert ops.post("/panel/sign-out", data={"csrf": csrf(ops)}).status_code == 303
    assert ops.get("/panel/overview").status_code == 401


def test_the_first_page(services: FakeServices, ops: FlaskClient) -> None:
    services.state.put(position(), operation())
    services.state.put(position("p-2", symbol="ETHUSDT", side="SHORT", paused=True, stagnated=True, sl_order=""))
    services.state.put(position("p-3", status="CLOSED"))
    services.state.ticks["BTCUSDT"] = Tick(NOW, Decimal(44500), Decimal(44500), Decimal(44500))
    services.metrics.counts = {"s6_stop_move_total": {("success",): 99, ("failed",): 1}}
    services.metrics.quantiles = {("s6_exec_seconds", 0.95): 0.312}
    page = text(ops)
    for word in ("Governing", "b-0007", "99 %", "0.31 s", "44,500", "43,000", "stop move", "paused", "no stop", "1/2"):
        assert word in page, word
    assert "p-3" not in page
    assert "Approve" not in page


def test_one_symbol_alone(services: FakeServices, ops: FlaskClient) -> None:
    services.state.put(position("p-1"))
    services.state.put(position("p-2", symbol="ETHUSDT"))
    page = text(ops, "/?symbol=ethusdt")
    assert "p-2" in page
    assert "p-1" not in page
    assert "<b>" not in text(ops, "/?symbol=<b>x</b>").split("positions")[0].split('role="search"')[0][-20:]


def test_nothing_told_by_others_becomes_markup(services: FakeServices, ops: FlaskClient) -> None:
    evil = "<script>alert(1)</script>"
    services.alerts.docs = [alert() | {"detail": evil, "code": evil}]
    services.state.put(position(bundle_version=evil), operation(reason=evil))
    services.store.docs = [snapshot(1, cause=evil, mark=Decimal(1))]
    services.health.answer["bundle_version"] = evil
    for path in ("/", "/panel/overview", "/panel/positions/p-1", f"/?symbol={evil}"):
        page = text(ops, path)
        assert evil not in page
        assert not re.search(r"<[^>]+\s(style|on\w+)=", page)
        assert not re.search(r"<script(?![^>]*\ssrc=)", page)


def test_a_bad_day_is_told(services: FakeServices, ops: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise RedisDown("refused")

    services.health.answer = services.health.answer | {"status": "DOWN", "mode": "RISK_REDUCTION_ONLY"}
    services.state.down = True
    services.store.down = True
    monkeypatch.setattr(services.alerts, "page", away)
    monkeypatch.setattr(services.metrics, "totals", away)
    page = text(ops)
    for word in (
        "Not governing",
        "Risk reduction only",
        "live state cannot be read",
        "Alerts cannot",
        "figures cannot",
    ):
        assert word in page, word
    assert ops.get("/panel/positions/p-1").status_code == 503


def test_a_position_without_its_history(services: FakeServices, ops: FlaskClient) -> None:
    services.state.put(position())
    services.store.down = True
    assert "store cannot be read" in text(ops, "/panel/positions/p-1")


def test_a_positions_page(services: FakeServices, ops: FlaskClient) -> None:
    services.state.put(position())
    services.store.docs = [
        snapshot(n, life=1, mark=Decimal(43000 + 50 * n), sl_price=Decimal(42000), entry_price_avg=Decimal(42000))
        for n in range(1, 5)
    ]
    services.state.waiting = [snapshot(5, life=1, mark=Decimal(43900), sl_price=Decimal(43000), cause="LAST WORD")]
    page = text(ops, "/panel/positions/p-1")
    assert "LAST WORD" in page
    assert page.count("<polyline") == 3
    assert page.index("LAST WORD") < page.index('data-key="1"')
    for word in ("Pause", "Exit at market", "Govern now", "Write off"):
        assert word in page, word
    for action in ("EXIT", "WRITE_OFF"):
        assert re.search(f'value="{action}" data-confirm="[^"]*p-1', page), action
    assert ops.get("/panel/positions/p-9").status_code == 404


@pytest.mark.parametrize("action", ["EVAL", "PAUSE", "RESUME", "EXIT", "WRITE_OFF"])
def test_acting_on_a_position(services: FakeServices, ops: FlaskClient, action: str) -> None:
    services.state.put(position())
    response = ops.post(
        "/panel/positions/p-1/manage", data={"csrf": csrf(ops), "action": action, "reason": "too  calm"}
    )
    assert response.headers["Location"] == "/panel/positions/p-1"
    assert services.commands.calls == [("p-1", "BTCUSDT", "FUT", action, "olga", "too calm")]
    assert 'class="flash done"' in text(ops, "/panel/positions/p-1")


def test_what_could_not_be_done_is_told(services: FakeServices, ops: FlaskClient) -> None:
    services.state.put(position())
    services.commands.error = Busy("p-1")
    ops.post("/panel/positions/p-1/manage", data={"csrf": csrf(ops), "action": "EXIT"})
    assert "being governed right now. Try again in 1 s." in text(ops, "/panel/positions/p-1")


def test_forms_of_strangers_do_nothing(services: FakeServices, app: Flask, ops: FlaskClient) -> None:
    services.state.put(position())
    good = {"csrf": csrf(ops), "action": "EXIT"}
    path = "/panel/positions/p-1/manage"
    assert ops.post(path, data=good | {"csrf": "guessed"}).status_code == 403
    assert ops.post(path, data={"action": "EXIT"}).status_code == 403
    assert ops.post(path, data=good, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert app.test_client().post(path, data=good).status_code == 401
    assert enter(app, "read-token").post(path, data=good).status_code == 403
    reader = enter(app, "read-token")
    assert reader.post(path, data=good | {"csrf": csrf(reader)}).status_code == 403
    assert services.commands.calls == []


def test_acknowledging(services: FakeServices, ops: FlaskClient) -> None:
    services.alerts.docs = [alert()]
    assert "Acknowledge" in text(ops)
    ops.post("/panel/alerts/a-1/ack", data={"csrf": csrf(ops), "note": "on it"})
    assert services.alerts.docs[0]["ack"] == {"by": "olga", "note": "on it", "ts": NOW}
    assert "Stop move failed" not in text(ops)


@pytest.mark.parametrize(("decision", "status"), [("approve", "APPROVED"), ("reject", "REJECTED")])
def test_deciding_on_a_transfer(services: FakeServices, treasury: FlaskClient, decision: str, status: str) -> None:
    services.store.records = [transfer()]
    services.treasury.records["tr-1"] = services.store.records[0]
    page = text(treasury)
    assert "300.1 USDT" in page
    assert "Approve" in page
    treasury.post(f"/panel/transfers/tr-1/{decision}", data={"csrf": csrf(treasury), "note": "fine"})
    assert services.treasury.records["tr-1"]["status"] == status
    assert services.treasury.records["tr-1"]["approver"] == "tom"
    assert "awaiting approval" not in text(treasury)


def test_a_session_ends_with_its_token(app: Flask, ops: FlaskClient) -> None:
    from dataclasses import replace

    holder = app.extensions["s6"]
    tokens = tuple(t for t in holder.settings.api_tokens if t.name != "olga")
    holder.settings = replace(holder.settings, api_tokens=tokens)
    assert ops.get("/panel/overview").status_code == 401
