"""Adds: when, how much, how often, and when never."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.e2e.agreement import agrees
from tests.e2e.running import D, Running
from tests.support.waiting import wait_for

ADD_ON = {"add_on": {"roe_gate": D("0.3"), "cap": 3, "gamma": D("0.5"), "eta": D("0.8"), "signal_ttl_s": 60}}
#: Far from the lock steps, so that only adds happen.
RULES = {**ADD_ON, "stop": {"lock_steps": [], "anchor": "ENTRY"}}


def signal(s6: Running, symbol: str, side: str = "LONG", name: str | None = None) -> str:
    """A new signal, read by S6; its id."""
    name = name or f"sig-{uuid.uuid4().hex[:8]}"
    s6.paper.feature(symbol, atr=400, regime="NORMAL", signal=side, signal_id=name)
    wait_for(lambda: s6.redis.hget(f"s6:features:{symbol}", "signal_id") == name, 5, f"{name} read")
    return name


def grown(s6: Running, pid: str, qty: str) -> dict[str, str]:
    s6.protected(pid, qty=qty)
    return s6.holds(pid, qty)


@pytest.fixture
def symbol(s6: Running) -> Iterator[str]:
    yield s6.symbol(fut=RULES)
    s6.publish(limits=None, health=None)


def test_gate_cap_eta_and_one_signal_once(s6: Running, symbol: str) -> None:
    pid = s6.enter(symbol, qty="0.1", leverage=5)  # margin 800: ROE 0.3 at 42400
    s6.protected(pid)
    signal(s6, symbol)
    s6.ticked(symbol, 42_399)
    assert s6.managed(pid, "PLAN")["plan"]["actions"] == []
    s6.ticked(symbol, 42_400)
    state = grown(s6, pid, "0.15")  # q0·γ
    assert state["add_on_count"] == "1"
    s6.ticked(symbol, 45_000)
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []  # the same signal once
    signal(s6, symbol, "SHORT")
    signal(s6, symbol, "NONE")
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []
    signal(s6, symbol)
    grown(s6, pid, "0.175")  # q0·γ²
    signal(s6, symbol)
    grown(s6, pid, "0.18")  # η·q0 − added = 0.005, below q0·γ³ = 0.0125
    signal(s6, symbol)
    s6.managed(pid, "EVAL")
    adds = s6.orders(pid, kind="ADD")
    assert [(o["side"], o["type"], o["reduceOnly"], o["qty"]) for o in adds] == [
        ("BUY", "MARKET", False, D(qty)) for qty in ("0.05", "0.025", "0.005")
    ]
    known = s6.redis.hgetall(f"pos:adds:{{{pid}}}")
    assert (known["count"], D(known["qty"])) == ("3", D("0.08"))
    agrees(s6, pid, symbol)
    s6.managed(pid, "EXIT")
    s6.closed(pid)
    agrees(s6, pid, symbol)


def test_a_signal_that_has_expired_adds_nothing(s6: Running) -> None:
    symbol = s6.symbol(fut={"add_on": {**ADD_ON["add_on"], "signal_ttl_s": 1}, "stop": {"lock_steps": []}})
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid)
    signal(s6, symbol)
    wait_for(lambda: s6.call("GET", f"/positions/{pid}").ok and _older(s6, symbol, 1200), 5)
    s6.ticked(symbol, 42_400)
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []
    signal(s6, symbol)
    grown(s6, pid, "0.15")


def _older(s6: Running, symbol: str, ms: int) -> bool:
    newest = s6.redis.xrevrange(f"feat:events:{symbol}", count=1)[0][1]
    return bool(s6.redis.time()[0] * 1000 - int(newest["ts"]) > ms)


def test_one_signal_adds_once_even_over_lives(s6: Running, symbol: str) -> None:
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid)
    s6.ticked(symbol, 42_400)
    name = signal(s6, symbol)
    grown(s6, pid, "0.15")
    s6.managed(pid, "EXIT")
    s6.closed(pid)
    s6.ticked(symbol, 40_000)
    s6.paper.open_position(pid, symbol, "LONG", "0.1", 5)
    s6.protected(pid, qty="0.1")
    s6.ticked(symbol, 42_400)
    signal(s6, symbol, name=name)
    assert [a["type"] for a in s6.managed(pid, "EVAL")["plan"]["actions"]] == []
    signal(s6, symbol)
    grown(s6, pid, "0.15")
    agrees(s6, pid, symbol)


def test_a_signal_that_comes_after_newer_features_still_counts(s6: Running, symbol: str) -> None:
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid)
    s6.ticked(symbol, 42_400)
    s6.paper.feature(symbol, atr=400, regime="NORMAL")
    newest = s6.redis.xrevrange(f"feat:events:{symbol}", count=1)[0][1]
    late = {"ts": int(newest["ts"]) - 50, "atr": 100, "regime": "HIGH", "signal": "LONG", "signal_id": f"late-{symbol}"}
    wait_for(lambda: s6.redis.exists(f"s6:features:{symbol}"), 5)
    s6.paper.raw(f"feat:events:{symbol}", **late)
    grown(s6, pid, "0.15")
    s6.protected(pid, price=40_000)  # 2 ATR of 400 below the new entry: the older ATR and regime are no news


def blocked(s6: Running, symbol: str, pid: str) -> None:
    """A signal stands and the gate is reached, yet nothing is added, while the stop goes on being moved."""
    s6.ticked(symbol, 42_400)
    signal(s6, symbol)
    wait_for(lambda: D(s6.state(pid)["mark"]) == 42_400, 10, "the mark seen")
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []
    assert s6.orders(pid, kind="ADD") == []


def test_none_while_the_market_stream_is_reported_down(s6: Running, symbol: str) -> None:
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid)
    s6.paper.health("ws", "DOWN")
    wait_for(lambda: s6.health()["mode"] == "RISK_REDUCTION_ONLY", 10, "RISK_REDUCTION_ONLY")
    blocked(s6, symbol, pid)
    s6.paper.health("ws", "OK")
    grown(s6, pid, "0.15")  # within the signal's life


def test_none_on_stale_market_data(s6: Running, symbol: str) -> None:
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid)
    s6.ticked(symbol, 42_400)
    s6.publish(health={"market_stale_ms": 300, "poll_interval_s": 1})
    s6.alert("MARKET_STALE", matching=lambda alert: symbol in alert["detail"])
    signal(s6, symbol)
    s6.managed(pid, "EVAL")
    assert s6.orders(pid, kind="ADD") == []
    assert s6.health()["mode"] == "RISK_REDUCTION_ONLY"
    s6.ticked(symbol, 42_401)
    s6.publish(health=None)
    grown(s6, pid, "0.15")


def test_none_while_s4_is_down(s6: Running, symbol: str) -> None:
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid)
    s6.paper.fault(http={"s4": {"down": "error"}})
    wait_for(lambda: s6.health()["checks"]["s4"]["status"] == "DOWN", 15, "S4 down")
    blocked(s6, symbol, pid)
    assert s6.alert("S4_DOWN")
    s6.paper.clear_faults()
    wait_for(lambda: s6.health()["checks"]["s4"]["status"] == "OK", 15, "S4 back")
    grown(s6, pid, "0.15")


def test_none_while_a_fatal_alert_stands(s6: Running, symbol: str) -> None:
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid)
    other = s6.symbol()
    s6.paper.script("order:SL", "reject", reason="NO", count=2)
    doomed = s6.enter(other)
    alert = s6.alert("STOP_MOVE_FAILED", doomed)
    assert alert["severity"] == "FATAL"
    s6.closed(doomed)
    blocked(s6, symbol, pid)
    standing = s6.call("GET", "/alerts?standing=true", token="read-token").json()["items"]
    assert alert["alert_id"] in {a["alert_id"] for a in standing}
    s6.acknowledge_all()
    assert s6.call("GET", "/alerts?standing=true", token="read-token").json()["items"] == []
    grown(s6, pid, "0.15")


def test_limits(s6: Running, symbol: str) -> None:
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid)
    used = D(s6.redis.get("risk:budget:FUT"))
    s6.publish(limits={"fut_budget": used + 424, "adds_in_flight": 10})  # the add wants 0.05·42401/5 = 424.01
    s6.ticked(symbol, 42_401)
    signal(s6, symbol)
    s6.managed(pid, "EVAL")
    s6.managed(pid, "EVAL")
    assert s6.orders(pid, kind="ADD") == []
    s6.publish(limits={"fut_budget": None, "adds_in_flight": 0})
    s6.managed(pid, "EVAL")
    assert s6.orders(pid, kind="ADD") == []
    s6.publish(limits={"fut_budget": used + D("424.01"), "adds_in_flight": 1})
    grown(s6, pid, "0.15")
    agrees(s6, pid, symbol)


def test_an_add_of_a_paused_position_waits(s6: Running, symbol: str) -> None:
    """PAUSE: no governance but protection."""
    pid = s6.enter(symbol, qty="0.1", leverage=5)
    s6.protected(pid, qty="0.1")
    s6.managed(pid, "PAUSE")
    s6.ticked(symbol, 42_400)
    signal(s6, symbol)
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []
    assert s6.orders(pid, kind="ADD") == []
    s6.paper.manual_close(pid, "0.05")
    s6.protected(pid, qty="0.05")
    s6.managed(pid, "RESUME")
    grown(s6, pid, "0.1")
