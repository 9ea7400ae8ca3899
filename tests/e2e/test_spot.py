"""SPOT: cost by WAC, a guard that S6 holds itself, sells that never exceed the holding."""

from __future__ import annotations

import pytest

from s6.paper.ledger import now_ms
from tests.e2e.agreement import agrees
from tests.e2e.running import D, Running
from tests.support.waiting import wait_for


def buy(s6: Running, symbol: str, pid: str, qty: str) -> None:
    s6.paper.open_position(pid, symbol, "LONG", qty, 1, "SPOT")


@pytest.fixture
def symbol(s6: Running) -> str:
    return s6.symbol()


def test_buys_wac_guard_and_one_market_sell(s6: Running, symbol: str) -> None:
    pid = f"spot-{symbol}"
    buy(s6, symbol, pid, "0.1")
    s6.guarded(pid, price=38_000, qty="0.1")
    s6.paper.tick(symbol, 41_000)
    buy(s6, symbol, pid, "0.3")
    state = s6.holds(pid, "0.4")
    assert D(state["entry_price_avg"]) == 40_750
    s6.guarded(pid, price="38712.5", qty="0.4")  # 40750 less 5 %
    agrees(s6, pid, symbol)
    s6.paper.tick(symbol, 44_825)  # ROE 0.1: 3 % are locked
    s6.guarded(pid, price="41972.5")
    assert s6.stop(pid)["k"] == "1"
    s6.paper.tick(symbol, 43_000)
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []
    s6.guarded(pid, price="41972.5")
    assert s6.orders(pid)[2:] == []  # nothing rests on SPOT
    before = now_ms()
    s6.paper.tick(symbol, "41972.5")
    s6.closed(pid)
    (guard,) = s6.orders(pid, kind="GUARD")
    assert (guard["type"], guard["side"], guard["reduceOnly"], guard["qty"]) == ("MARKET", "SELL", False, D("0.4"))
    sent = next(r for r in s6.ledger(pid, "request") if r["route"] == "s4.orders")
    assert int(str(sent["ts"])) - before < 1000
    assert [e["data"]["new"] for e in s6.events(symbol, "STOP_MOVE")] == [D(38_000), D("38712.5"), D("41972.5")]
    agrees(s6, pid, symbol)


def test_a_tick_that_has_come_back_still_crossed(s6: Running, symbol: str) -> None:
    pid = f"spot-{symbol}"
    buy(s6, symbol, pid, "0.1")
    s6.guarded(pid, price=38_000)
    wait_for(lambda: s6.managed(pid, "PLAN")["plan"]["actions"] == [], 5)
    s6.paper.tick(symbol, 37_900, to="stream")
    s6.paper.tick(symbol, 40_100)
    s6.closed(pid)
    assert len(s6.orders(pid, kind="GUARD")) == 1
    agrees(s6, pid, symbol)


def test_the_guard_follows_atr_and_the_plan_tells_of_it(s6: Running, symbol: str) -> None:
    pid = f"spot-{symbol}"
    buy(s6, symbol, pid, "0.1")
    s6.guarded(pid, price=38_000)
    s6.managed(pid, "PAUSE")
    s6.paper.feature(symbol, atr=500, regime="NORMAL")
    wait_for(lambda: s6.redis.exists(f"s6:features:{symbol}"), 5)
    assert s6.managed(pid, "PLAN")["plan"]["actions"] == []
    s6.managed(pid, "RESUME")
    s6.guarded(pid, price=39_000)
    agrees(s6, pid, symbol)


def test_eval_tells_of_a_guard_that_it_moved(unswept: Running) -> None:
    symbol = unswept.symbol()
    pid = f"spot-{symbol}"
    buy(unswept, symbol, pid, "0.1")
    unswept.guarded(pid, price=38_000)
    unswept.rule(symbol, spot={"guard": {"fallback_pct": D("0.02")}})
    told = unswept.managed(pid, "EVAL")["plan"]["actions"]
    assert [(a["type"], a["old"], a["new"]) for a in told] == [("STOP_MOVE", 38_000, 39_200)]
    unswept.guarded(pid, price=39_200)


def test_the_ladder_on_spot_and_sells_in_parts(s6: Running) -> None:
    ladder = [{"roe": D("0.05"), "fraction": D("0.5")}, {"roe": D("0.2"), "fraction": 1}]
    symbol = s6.symbol(spot={"tp_ladder": ladder})
    pid = f"spot-{symbol}"
    buy(s6, symbol, pid, "0.2")
    s6.guarded(pid, price=38_000)
    s6.paper.script("fill:TP", "parts", parts=4)
    s6.paper.tick(symbol, 42_000)
    s6.holds(pid, "0.1")
    s6.paper.manual_close(pid, "0.04")
    state = s6.holds(pid, "0.06")
    assert D(state["entry_price_avg"]) == 40_000
    agrees(s6, pid, symbol)
    s6.paper.tick(symbol, 48_000)
    s6.closed(pid)
    assert [(o["qty"], o["reduceOnly"]) for o in s6.orders(pid, kind="TP")] == [(D("0.1"), False), (D("0.06"), False)]
    agrees(s6, pid, symbol)


def test_sells_in_flight_never_exceed_the_holding(s6: Running) -> None:
    """A take-profit is at work while the guard is crossed: the guard sells only the rest."""
    symbol = s6.symbol(spot={"tp_ladder": [{"roe": D("0.05"), "fraction": D("0.5")}]})
    pid = f"spot-{symbol}"
    buy(s6, symbol, pid, "0.2")
    s6.guarded(pid, price=38_000)
    s6.paper.fault(exchange={"fill_delay_ms": 1500})
    s6.paper.tick(symbol, 42_000)
    wait_for(lambda: s6.orders(pid, kind="TP"), 5, "a take-profit")
    s6.paper.tick(symbol, 37_900)
    s6.closed(pid)
    assert sum(D(str(o["qty"])) for o in s6.orders(pid) if o["kind"] != "ENTRY") == D("0.2")
    agrees(s6, pid, symbol)


def test_selling_more_than_is_held_is_refused_and_told_of(s6: Running, symbol: str) -> None:
    pid = f"spot-{symbol}"
    buy(s6, symbol, pid, "0.1")
    s6.guarded(pid, price=38_000)
    fields = {"market": "SPOT", "position_id": pid, "kind": "REDUCE", "side": "SELL", "type": "MARKET"}
    more = {"client_order_id": f"x-{pid}", "intent_id": "x", "status": "FILLED", "avg_price": 40_000}
    s6.paper.raw(f"ord:result:{symbol}", ts=now_ms(), symbol=symbol, qty="0.5", filled_qty="0.5", **fields, **more)
    assert s6.alert("OVERSELL", pid)["severity"] == "ERROR"
    assert D(s6.state(pid)["qty"]) == 0
    s6.paper.manual_close(pid)  # what the exchange still holds is not given back a second time
    s6.quotas_agree()


def test_an_entry_by_sell_is_malformed(s6: Running, symbol: str) -> None:
    pid = f"spot-{symbol}"
    fields = {"market": "SPOT", "position_id": pid, "kind": "ENTRY", "side": "SELL", "type": "MARKET"}
    more = {"client_order_id": f"x-{pid}", "intent_id": "x", "status": "FILLED", "avg_price": 40_000}
    s6.paper.raw(f"ord:result:{symbol}", ts=now_ms(), symbol=symbol, qty="0.5", filled_qty="0.5", **fields, **more)
    wait_for(lambda: [f for _, f in s6.redis.xrange("s6:deadletter") if pid in f["payload"]], 5, "a dead letter")
    assert s6.state(pid) == {}


def test_exit_by_an_operator(s6: Running, symbol: str) -> None:
    pid = f"spot-{symbol}"
    buy(s6, symbol, pid, "0.1")
    s6.guarded(pid, price=38_000)
    answer = s6.managed(pid, "EXIT")
    assert [(o["kind"], o["type"], o["reduceOnly"]) for o in answer["orders"]] == [("NEW", "MARKET", False)]
    s6.closed(pid)
    assert len(s6.orders(pid, kind="EXIT")) == 1
    agrees(s6, pid, symbol)


def test_without_a_stream_the_last_mid_decides(s6: Running, symbol: str) -> None:
    """The mark was above the guard, the mid below: once the stream has died, the mid stands."""
    pid = f"spot-{symbol}"
    buy(s6, symbol, pid, "0.1")
    s6.guarded(pid, price=38_000)
    s6.paper.tick(symbol, 38_100, bid=37_800, ask=38_000)
    wait_for(lambda: s6.managed(pid, "PLAN")["plan"]["actions"] == [], 5)
    s6.publish(health={"market_stale_ms": 300, "poll_interval_s": 1})
    try:
        s6.closed(pid)
    finally:
        s6.publish(health=None)
    assert len(s6.orders(pid, kind="GUARD")) == 1
    agrees(s6, pid, symbol)
