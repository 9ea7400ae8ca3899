"""The HTTP face over a real S6: actions and their refusals, timelines, health, metrics."""

from __future__ import annotations

from typing import Any

import pytest

from s6.model import jsonx
from tests.e2e.agreement import agrees
from tests.e2e.running import D, Running
from tests.support.waiting import wait_for


def problem(answer: Any, status: int) -> dict[str, Any]:
    """An RFC 9457 document with a stable word."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "code"} <= set(body)
    assert body["status"] == status
    return body


def test_plan_changes_nothing_and_eval_executes(s6: Running) -> None:
    symbol = s6.symbol(fut={"tp_ladder": [{"roe": D("0.5"), "fraction": D("0.33")}]})
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    s6.managed(pid, "PAUSE")
    s6.paper.tick(symbol, 42_000)
    s6.paper.manual_close(pid, "0.05")
    s6.protected(pid, price=39_200, qty="0.05")
    paused = s6.state(pid)
    assert paused["paused"] == "true"
    assert s6.managed(pid, "PLAN")["plan"]["actions"] == []
    s6.paper.script("cancel:SL", "CANCELED", ms=500)
    s6.managed(pid, "RESUME")
    stop = s6.protected(pid, price=40_800)
    s6.holds(pid, "0.034")
    assert stop["k"] == "1"
    agrees(s6, pid, symbol)


def test_the_answer_of_the_contract(unswept: Running) -> None:
    """PLAN and EVAL answer the same; execution follows EVAL alone."""
    s6 = unswept
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    old = s6.protected(pid, price=39_200)
    s6.ticked(symbol, 41_000)
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []  # so no rule that comes later finds the tick unseen
    s6.paper.fault(exchange={"cancel_delay_ms": 300})
    step = {"lock_steps": [{"roe": D("0.2"), "lock_roe": D("0.1")}]}
    s6.rule(symbol, fut={"stop": step, "tp_ladder": [{"roe": D("0.2"), "fraction": D("0.33")}]})
    planned = s6.managed(pid, "PLAN")
    assert s6.operation(pid) == {}
    assert s6.stop(pid) == old
    told = s6.managed(pid, "EVAL")
    assert (told["plan"]["actions"], told["orders"]) == (planned["plan"]["actions"], planned["orders"])
    move, profit = told["plan"]["actions"]
    assert (move["type"], move["old"], move["new"]) == ("STOP_MOVE", 39_200, 40_400)
    assert (profit["type"], profit["qty"]) == ("TP_PARTIAL", D("0.033"))
    cancel, new = told["orders"][:2]
    assert cancel == {"kind": "CANCEL", "target": old["client_order_id"]}
    assert {"kind": "NEW", "type": "STOP_MARKET", "reduceOnly": True, "stopPx": 40_400}.items() <= new.items()
    assert isinstance(told["plan"]["plan_id"], str)
    s6.protected(pid, price=40_400, qty="0.067")
    agrees(s6, pid, symbol)


def test_exit_at_market_and_its_name_in_the_timeline(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid)
    answer = s6.managed(pid, "EXIT")
    assert [a["type"] for a in answer["plan"]["actions"]] == ["EXIT"]
    s6.closed(pid)
    (leave,) = s6.orders(pid, kind="EXIT")
    assert (leave["type"], leave["qty"], leave["reduceOnly"]) == ("MARKET", D("0.1"), True)
    causes = " ".join(shot["cause"] for shot in s6.timeline(pid))
    assert "operator" in causes
    assert "a test" in causes
    agrees(s6, pid, symbol)
    assert s6.manage(pid, "EXIT").json()["plan"]["actions"] == []
    assert len(s6.orders(pid, kind="EXIT")) == 1


def test_pause_leaves_protection(s6: Running) -> None:
    """No take-profit and no trailing while paused; the stop is resized, and risk is still reduced."""
    risk = {"lb_min": D("0.09"), "lb_exit": D("0.01"), "reduce_fraction": D("0.5"), "cooldown_s": 60}
    stop = {"fallback_pct": D("0.09"), "lock_steps": [{"roe": D("0.5"), "lock_roe": D("0.2")}]}
    symbol = s6.symbol(fut={"risk": risk, "stop": stop, "tp_ladder": [{"roe": D("0.5"), "fraction": D("0.5")}]})
    pid = s6.enter(symbol)
    first = s6.protected(pid, qty="0.1")
    s6.managed(pid, "PAUSE")
    s6.managed(pid, "PAUSE")
    s6.paper.tick(symbol, 42_000)
    wait_for(lambda: D(s6.state(pid)["best_mark"]) == 42_000, 10, "the tick seen")
    assert (s6.stop(pid), D(s6.state(pid)["qty"])) == (first, D("0.1"))
    s6.paper.tick(symbol, 39_700)
    s6.protected(pid, price=first["price"], qty="0.05")
    assert len(s6.events(symbol, "RISK_DOWNGRADE")) == 1
    assert s6.timeline(pid)[-1]["paused"] is True
    s6.managed(pid, "RESUME")
    assert s6.state(pid)["paused"] == "false"
    agrees(s6, pid, symbol)


def test_busy_is_409_with_retry_after(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid)
    key = f"lock:pos:{{{pid}}}"
    wait_for(lambda: s6.redis.set(key, "somebody", nx=True, px=30_000), 5, "the lock")
    try:
        answer = s6.manage(pid, "EVAL")
        assert problem(answer, 409)["code"]
        assert int(answer.headers["Retry-After"]) >= 1
    finally:
        assert s6.redis.get(key) == "somebody"  # released only by its owner
        s6.redis.delete(key)
    s6.managed(pid, "EVAL")


def test_a_foreign_lock_is_waited_for(s6: Running) -> None:
    """A worker that died with the lock delays nothing but until it runs out."""
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid)
    wait_for(lambda: s6.redis.set(f"lock:pos:{{{pid}}}", "dead", nx=True, px=1500), 5, "the lock")
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    agrees(s6, pid, symbol)


def test_refusals(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid)
    assert problem(s6.manage("no-such-position", "EVAL"), 404)["code"]
    errors = problem(s6.manage(pid, "EVAL", symbol="ETHUSDT", market="SPOT"), 422)["errors"]
    assert {e["field"] for e in errors} == {"symbol", "market"}
    others: tuple[dict[str, Any], ...] = (
        {"actions": []},
        {"actions": ["EVAL", "EXIT"]},
        {"actions": ["SELL"]},
        {"surprise": 1},
        {"symbol": "btc"},
        {"reason": 7},
    )
    for other in others:
        errors = problem(s6.manage(pid, "EVAL", **other), 422)["errors"]
        assert [e["field"] for e in errors] == list(other)
    body = {"symbol": symbol, "market": "FUT", "position_id": "{x}", "actions": ["EVAL"], "reason": "r"}
    assert problem(s6.call("POST", "/positions/manage", body), 422)["errors"][0]["field"] == "position_id"
    assert problem(s6.manage(pid, "EVAL", token=None), 401)
    assert problem(s6.manage(pid, "EVAL", token="nonsense"), 401)
    for token in ("read-token", "treasury-token"):
        assert problem(s6.manage(pid, "EVAL", token=token), 403)
    assert problem(s6.call("POST", "/positions/manage", "{broken"), 400)
    assert problem(s6.call("POST", "/positions/manage", "x" * 70_000), 413)
    assert problem(s6.call("POST", "/positions/manage", "{}", headers={"Content-Type": "text/plain"}), 415)
    assert problem(s6.call("GET", "/positions", token=None), 401)
    assert problem(s6.call("GET", "/positions/none-such"), 404)
    assert problem(s6.call("GET", "/positions/none-such/timeline"), 404)
    assert problem(s6.call("POST", "/alerts/none-such/ack", {"by": "x"}), 404)
    assert problem(s6.call("POST", "/alerts/none-such/ack", {"by": "x"}, token="read-token"), 403)
    assert s6.orders(pid, kind="EXIT") == []


def test_reading(s6: Running) -> None:
    symbol = s6.symbol(fut={"tp_ladder": [{"roe": 2, "fraction": D("0.5")}]})
    pid, other = s6.enter(symbol), s6.enter(symbol, "SHORT")
    stop = s6.protected(pid)
    s6.protected(other)
    s6.managed(other, "EXIT")
    s6.closed(other)
    found = jsonx.loads(s6.call("GET", f"/positions?symbol={symbol}&status=OPEN", token="read-token").text)
    assert ([p["position_id"] for p in found["items"]], found["next_cursor"]) == ([pid], None)
    assert len(s6.call("GET", f"/positions?symbol={symbol}&market=FUT").json()["items"]) == 2
    assert s6.call("GET", f"/positions?symbol={symbol}&market=SPOT").json()["items"] == []
    one = jsonx.loads(s6.call("GET", f"/positions/{pid}", token="treasury-token").text)
    assert set(one) >= {"state", "stop", "ladder", "adds", "operation"}
    assert (one["stop"]["price"], one["stop"]["client_order_id"]) == (D(stop["price"]), stop["client_order_id"])
    assert (one["operation"], one["state"]["qty"], one["state"]["paused"]) == (None, D("0.1"), False)
    gone = s6.call("GET", f"/positions/{other}").json()
    assert (gone["stop"], gone["operation"], gone["state"]["status"]) == (None, None, "CLOSED")
    pages, cursor = [], ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        page = s6.call("GET", f"/positions/{pid}/timeline?limit=2{more}", token="read-token").json()
        pages += page["items"]
        cursor = page["next_cursor"]
    assert [shot["seq"] for shot in pages] == [shot["seq"] for shot in s6.timeline(pid)]
    names = {"_key", "position_id", "seq", "phase", "symbol", "market", "side", "qty", "entry_price_avg"}
    names |= {"isolated_margin_usdt", "unrealized_pnl_usdt", "realized_pnl_usdt", "roe", "mark", "add_on_count"}
    names |= {"sl_price", "sl_level", "status", "paused", "cause", "bundle_version", "ts"}
    assert all(names <= set(shot) for shot in pages)


def test_health_and_metrics(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid)
    wait_for(lambda: s6.health()["mode"] == "NORMAL", 15, "the end of other tests' troubles")
    answer = s6.call("GET", "/health", token=None)
    body = answer.json()
    assert (answer.status_code, body["mode"]) == (200, "NORMAL")
    assert {"status", "mode", "checks", "ws_lag_ms", "manage_tick_delay_ms", "bundle_version"} <= set(body)
    checks = {"redis", "broker", "store", "worker", "listener", "beat", "s1", "s4", "s10", "s12"}
    assert set(body["checks"]) == checks
    assert all({"status", "latency_ms"} <= set(check) for check in body["checks"].values())
    assert isinstance(body["ws_lag_ms"][symbol], int)
    wait_for(lambda: s6.health()["manage_tick_delay_ms"] is not None, 10, "a sweep")
    text = s6.call("GET", "/metrics", token=None).text
    for name in (
        "s6_stop_move_total",
        "s6_exec_seconds_bucket",
        "s6_open_positions ",
        "s6_mode{",
        "s6_sweep_positions",
    ):
        assert any(line.startswith(name) for line in text.splitlines()), name
    for path in ("/openapi.json", "/docs"):
        assert s6.call("GET", path, token=None).status_code == 200
    assert s6.call("GET", "/openapi.json", token=None).json()["openapi"].startswith("3.1")


@pytest.mark.parametrize("route", ["s1", "s12"])
def test_a_hanging_neighbour_never_slows_health(s6: Running, route: str) -> None:
    s6.paper.fault(http={route: {"latency_ms": 8000}})
    wait_for(lambda: s6.health()["checks"][route]["status"] == "DOWN", 20, f"{route} down")
    answer = s6.call("GET", "/health", token=None)
    assert answer.elapsed.total_seconds() < 2
    assert (answer.status_code, answer.json()["status"]) == (200, "DEGRADED")
    s6.paper.clear_faults()
    wait_for(lambda: s6.health()["checks"][route]["status"] == "OK", 15, f"{route} back within 15 s")
