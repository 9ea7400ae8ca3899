"""A futures position from its first fill to its exit: what S4 saw, what S6 told, what it wrote down."""

from __future__ import annotations

import pytest

from s6.paper.ledger import now_ms
from tests.e2e.agreement import agrees
from tests.e2e.running import D, Running
from tests.support.waiting import wait_for

LADDER = {"tp_ladder": [{"roe": D("0.8"), "fraction": D("0.33")}, {"roe": D("1.5"), "fraction": D("0.5")}]}


def at(side: str, distance: int) -> int:
    """A price that lies so far in the position's favour from 40000."""
    return 40_000 + (distance if side == "LONG" else -distance)


def first_stop_ms(s6: Running, position_id: str) -> int:
    """From the first fill to the first stop's resting, by the exchange's clock."""
    filled = s6.ledger(position_id, "fill")[0]
    rests = next(r for r in s6.ledger(position_id, "order") if r["kind"] == "SL")
    return int(str(rests["ts"])) - int(str(filled["ts"]))


@pytest.mark.parametrize("side", [pytest.param("LONG", marks=pytest.mark.smoke), "SHORT"])
def test_from_entry_to_exit(s6: Running, side: str) -> None:
    symbol = s6.symbol(fut=LADDER)
    s6.paper.feature(symbol, atr=200, regime="NORMAL")
    wait_for(lambda: s6.redis.exists(f"s6:features:{symbol}"), 5)
    pid = s6.enter(symbol, side)
    stop = s6.protected(pid, price=at(side, -400), qty="0.1")
    assert stop["k"] == "0"
    assert first_stop_ms(s6, pid) < 1000
    s6.paper.tick(symbol, at(side, 1999))
    s6.paper.tick(symbol, at(side, 2000))
    stop = s6.protected(pid, price=at(side, 800))
    assert stop["k"] == "1"
    s6.paper.tick(symbol, at(side, 3200))
    s6.protected(pid, price=at(side, 800), qty="0.067")
    assert s6.redis.hget(f"pos:tp:ladder:{{{pid}}}", "done") == "[0]"
    agrees(s6, pid, symbol)
    s6.paper.tick(symbol, at(side, 700))
    s6.closed(pid)
    agrees(s6, pid, symbol)
    types = [e["type"] for e in s6.events(symbol)]
    assert types == ["ENTRY", "STOP_MOVE", "STOP_MOVE", "TP_PARTIAL", "STOP_MOVE", "EXIT"]
    moves = [
        (e["data"]["old"], e["data"]["new"], e["data"]["level"], e["data"]["qty"])
        for e in s6.events(symbol, "STOP_MOVE")
    ]
    assert moves == [
        (None, at(side, -400), 0, D("0.1")),
        (at(side, -400), at(side, 800), 1, D("0.1")),
        (at(side, 800), at(side, 800), 1, D("0.067")),
    ]
    acts = [
        (shot["phase"], shot["cause"].split(":")[-1].split()[0])
        for shot in s6.timeline(pid)
        if shot["phase"] != "RESULT"
    ]
    kinds = ["STOP_MOVE", "STOP_MOVE", "TP_PARTIAL", "STOP_MOVE"]
    assert acts == [(phase, kind) for kind in kinds for phase in ("BEFORE", "AFTER")]


def test_the_new_stop_comes_only_after_the_outcome_of_the_cancel(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    first = s6.protected(pid, price=39_200)
    s6.paper.script("cancel:SL", "CANCELED", ms=400)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    seen = s6.ledger(pid, "request", "cancel", "order")
    cancel = next(r for r in seen if r["what"] == "request" and r["route"] == "s4.cancel")
    outcome = next(r for r in seen if r["what"] == "cancel")
    place = [r for r in seen if r["what"] == "request" and r["route"] == "s4.orders"][-1]
    assert cancel["body"]["client_order_id"] == first["client_order_id"]  # type: ignore[index]
    assert cancel["n"] < outcome["n"] < place["n"]  # type: ignore[operator]
    assert place["body"] == {
        "intent_id": place["body"]["intent_id"],  # type: ignore[index]
        "client_order_id": s6.stop(pid)["client_order_id"],
        "position_id": pid,
        "symbol": symbol,
        "market": "FUT",
        "kind": "SL",
        "side": "SELL",
        "type": "STOP_MARKET",
        "qty": D("0.1"),
        "stopPx": 40_800,
        "reduceOnly": True,
    }
    agrees(s6, pid, symbol)


def test_the_anchor_best_trails_by_distance_and_interval(s6: Running) -> None:
    stop = {"anchor": "BEST", "fallback_pct": D("0.01"), "lock_steps": [], "min_move_bps": 50, "min_interval_s": 0}
    symbol = s6.symbol(fut={"stop": stop})
    pid = s6.enter(symbol, qty="0.01", leverage=5)
    s6.protected(pid, price=39_600)
    s6.paper.tick(symbol, 40_100)  # 39699: less than 50 bps of 39600
    s6.paper.tick(symbol, 40_300)  # 39897: more
    s6.protected(pid, price=39_897)
    s6.paper.tick(symbol, 40_000)
    assert s6.managed(pid, "PLAN")["plan"]["actions"] == []
    assert [D(e["price"]) for e in s6.events(symbol, "STOP_MOVE")] == [39_600, 39_897]
    agrees(s6, pid, symbol)


def test_exit_when_the_liquidation_is_near(s6: Running) -> None:
    risk = {"lb_min": D("0.05"), "lb_exit": D("0.045"), "cooldown_s": 0}
    symbol = s6.symbol(fut={"stop": {"liq_clearance": D("0.001"), "fallback_pct": D("0.09")}, "risk": risk})
    pid = s6.enter(symbol)
    s6.protected(pid)
    s6.paper.tick(symbol, 37_800, to="stream")
    s6.paper.tick(symbol, 37_800)
    s6.closed(pid)
    assert s6.event(symbol, "EXIT")[0]["reason"] == "LIQUIDATION_BUFFER"
    exits = s6.orders(pid, kind="EXIT")
    assert [(o["type"], o["side"], o["reduceOnly"], o["qty"]) for o in exits] == [("MARKET", "SELL", True, D("0.1"))]
    agrees(s6, pid, symbol)


def test_risk_downgrades_with_cooldown_and_at_most_so_often(s6: Running) -> None:
    risk = {"lb_min": D("0.09"), "lb_exit": D("0.01"), "reduce_fraction": D("0.5"), "cooldown_s": 2, "max_reduces": 2}
    symbol = s6.symbol(fut={"risk": risk, "stop": {"fallback_pct": D("0.09"), "lock_steps": []}})
    pid = s6.enter(symbol)
    s6.protected(pid, qty="0.1")
    s6.paper.tick(symbol, 39_700)
    s6.protected(pid, qty="0.05")
    s6.protected(pid, qty="0.025")
    first, second = s6.event(symbol, "RISK_DOWNGRADE", count=2)
    assert int(second["ts"]) - int(first["ts"]) >= 2000
    wait_for(lambda: now_ms() - int(second["ts"]) > 2500, 5)
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []
    assert len(s6.events(symbol, "RISK_DOWNGRADE")) == 2
    agrees(s6, pid, symbol)


def test_a_position_that_stands_still_is_told_of_once_and_again_after_a_new_best(s6: Running) -> None:
    symbol = s6.symbol(fut={"stagnation": {"after_s": 1, "abs_roe_below": D("0.2")}})
    pid = s6.enter(symbol)
    s6.event(symbol, "STAGNATED")
    s6.paper.tick(symbol, 40_100)
    s6.event(symbol, "STAGNATED", count=2)
    s6.managed(pid, "EVAL")
    assert len(s6.events(symbol, "STAGNATED")) == 2
    assert s6.state(pid)["status"] == "OPEN"
    agrees(s6, pid, symbol)
