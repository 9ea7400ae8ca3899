"""The Active Bundle: swapped whole, refused whole, overridden by symbol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.agreement import agrees
from tests.e2e.running import D, Running
from tests.support.waiting import wait_for


@pytest.fixture
def s6(s6: Running) -> Iterator[Running]:
    yield s6
    s6.publish()


def test_a_new_version_governs_at_once(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    version = s6.rule(symbol, fut={"stop": {"fallback_pct": D("0.01")}})
    s6.protected(pid, price=39_600)
    assert s6.timeline(pid)[-1]["bundle_version"] == version
    s6.rule(symbol, fut={"stop": {"fallback_pct": D("0.05")}})
    assert s6.managed(pid, "EVAL")["plan"]["actions"] == []  # a stop never moves against the position
    s6.protected(pid, price=39_600)
    agrees(s6, pid, symbol)


def test_objects_merge_lists_and_values_replace(s6: Running) -> None:
    plain = s6.symbol()
    own = s6.symbol(
        fut={"stop": {"k_by_regime": {"HIGH": 1}, "lock_steps": [{"roe": D("0.1"), "lock_roe": D("0.05")}]}}
    )
    for symbol in (plain, own):
        s6.paper.feature(symbol, atr=200, regime="HIGH")
        wait_for(lambda symbol=symbol: s6.redis.exists(f"s6:features:{symbol}"), 5)  # type: ignore[misc]
    by_rule, by_own = s6.enter(plain), s6.enter(own)
    s6.protected(by_rule, price=39_400)
    s6.protected(by_own, price=39_800)
    s6.paper.tick(own, 40_400)
    s6.protected(by_own, price=40_200)
    s6.paper.feature(own, atr=50, regime="NORMAL")  # 2 ATR: what the symbol does not override
    s6.protected(by_own, price=40_200)
    agrees(s6, by_own, own)


@pytest.mark.parametrize("announce", [True, False])
def test_a_bad_bundle_is_refused_whole(s6: Running, announce: bool) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    good = s6.health()["bundle_version"]
    bad = s6.bundle()
    bad["fut"] = {
        "stop": {"fallback_pct": D("-0.01"), "default_regime": "CALM"},
        "risk": {"lb_min": D("0.01"), "lb_exit": D("0.02")},
        "tp_ladder": [{"roe": 1, "fraction": D("1.5")}],
    }
    if announce:
        s6.paper.publish_bundle(bad)
        detail = s6.alert("BUNDLE_REFUSED", matching=lambda a: good in a["detail"])["detail"]
        for fault in ("fallback_pct", "default_regime", "lb_exit", "fraction"):
            assert fault in detail
        assert s6.alerts("BUNDLE_REFUSED")[-1]["severity"] == "ERROR"
    else:
        s6.paper.publish_bundle("{not json", announce=False)
        s6.paper.publish_bundle("{not json")
        s6.alert("BUNDLE_REFUSED", matching=lambda a: good in a["detail"])
    assert s6.health()["bundle_version"] == good
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    agrees(s6, pid, symbol)


def test_an_unknown_symbol_is_kept_and_governed_once_it_is_named(s6: Running) -> None:
    symbol = s6.symbol()
    entry = s6.forget(symbol)
    s6.publish()
    pid = s6.enter(symbol)
    alert = s6.alert("SYMBOL_UNKNOWN", pid)
    assert alert["severity"] == "ERROR"
    s6.holds(pid, "0.1")
    assert (s6.stop(pid), s6.orders(pid, kind="SL")) == ({}, [])
    assert s6.managed(pid, "PLAN")["plan"]["actions"] == []
    s6.remember(symbol, entry)
    s6.publish()
    s6.protected(pid, price=39_200)
    assert [e["type"] for e in s6.events(symbol)] == ["ENTRY", "STOP_MOVE"]


def test_s10_away_changes_nothing(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    s6.paper.fault(http={"s10": {"down": "error"}})
    wait_for(lambda: s6.health()["checks"]["s10"]["status"] == "DOWN", 15, "S10 down")
    assert s6.health()["status"] == "DEGRADED"
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    s6.paper.clear_faults()
    wait_for(lambda: s6.health()["checks"]["s10"]["status"] == "OK", 15, "S10 back")
    agrees(s6, pid, symbol)
