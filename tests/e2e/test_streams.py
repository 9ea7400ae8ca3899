"""Malformed messages of every stream: put aside, told of, and the next message handled."""

from __future__ import annotations

from typing import Any

import pytest

from s6.model import jsonx
from s6.paper.ledger import now_ms
from tests.e2e.agreement import agrees
from tests.e2e.running import D, Running
from tests.support.waiting import wait_for


def put_aside(s6: Running, source: str, mark: str) -> dict[str, str]:
    """Wait for the dead letter from ``source`` that holds ``mark``, and for its alert."""

    def look() -> dict[str, str] | None:
        letters = (fields for _, fields in s6.redis.xrange("s6:deadletter"))
        return next((dict(f) for f in letters if f["source"] == source and mark in f["payload"]), None)

    letter = wait_for(look, 10, f"a dead letter from {source}") or {}
    assert set(letter) == {"source", "entry_id", "error", "payload"}
    alert = s6.alert("DEADLETTER", matching=lambda a: a["detail"].startswith(source))  # one a minute for each source
    assert alert["severity"] in (("WARN", "ERROR") if source.startswith("ord:result:") else ("WARN",))
    return letter


def result(symbol: str, mark: str, /, **fields: Any) -> dict[str, Any]:
    entry = {
        "ts": now_ms(),
        "symbol": symbol,
        "market": "FUT",
        "position_id": mark,
        "client_order_id": f"c-{mark}",
        "intent_id": f"i-{mark}",
        "kind": "ENTRY",
        "side": "BUY",
        "type": "MARKET",
        "status": "FILLED",
        "qty": "0.1",
        "filled_qty": "0.1",
        "avg_price": "40000",
        "leverage": "10",
    }
    return {name: value for name, value in {**entry, **fields}.items() if value is not None}


BAD_RESULTS: dict[str, dict[str, Any]] = {
    "no side": {"side": None},
    "no status": {"status": None},
    "qty is infinite": {"qty": "Infinity", "filled_qty": "Infinity"},
    "ts is no number": {"ts": "yesterday"},
    "a kind nobody knows": {"kind": "HEDGE"},
    "another symbol's": {"symbol": "OTHERUSDT"},
    "a market nobody knows": {"market": "OPTION"},
    "a spot entry that sells": {"market": "SPOT", "side": "SELL"},
    "far ahead of the clock": {"ts": now_ms() + 3_600_000},
    "a number out of all bounds": {"filled_qty": "1" * 20},
    "nothing that names the order": {"client_order_id": ""},
    "an id that cannot be": {"position_id": "b{a}d"},
}


def test_results(s6: Running) -> None:
    symbol = s6.symbol()
    stream = f"ord:result:{symbol}"
    marks = {}
    for number, (name, fields) in enumerate(BAD_RESULTS.items()):
        mark = f"bad{number}-{symbol}"
        marks[name] = mark
        s6.paper.raw(stream, **result(symbol, mark, **fields))
    s6.redis.xadd(stream, {"nothing": "of", "this": f"kind-{symbol}"})
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    for name, mark in marks.items():
        letter = put_aside(s6, stream, mark)
        assert letter["error"], name
        assert s6.state(mark) == {}, name
    put_aside(s6, stream, f"kind-{symbol}")
    wait_for(lambda: s6.redis.xpending(stream, "s6")["pending"] == 0, 5, "the last one acknowledged behind its letter")
    agrees(s6, pid, symbol)


UNDERSTOOD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a status that resembles one": ({"status": "DONE"}, "0.1", "RESULT_UNCLEAR"),
    "filled without a price": ({"avg_price": None}, "0.1", "FIGURES_ODD"),
    "more filled than ordered": ({"filled_qty": "0.2"}, "0.2", ""),
    "rounded by a hair": ({"filled_qty": "0.10000000000000001"}, "0.1", ""),
    "no quantity": ({"qty": "0"}, "0.1", ""),
    "a quantity that is no number": ({"qty": "much"}, "0.1", "FIGURES_ODD"),
    "a price that is no number": ({"avg_price": "NaN"}, "0.1", "FIGURES_ODD"),
    "leverage zero": ({"leverage": "0"}, "0.1", "FIGURES_ODD"),
    "a liquidation price below zero": ({"liq_price": "-12.5"}, "0.1", "FIGURES_ODD"),
    "named by the exchange alone": ({"client_order_id": "", "order_id": "55"}, "0.1", ""),
}


def test_whatever_can_be_understood_of_a_fill_is_booked(s6: Running) -> None:
    symbol = s6.symbol(mark=None)
    s6.ticked(symbol, 40_000)
    for number, (fields, _, _) in enumerate(UNDERSTOOD.values()):
        s6.paper.raw(f"ord:result:{symbol}", **result(symbol, f"odd{number}-{symbol}", **fields))
    for number, (name, (_, qty, code)) in enumerate(UNDERSTOOD.items()):
        mark = f"odd{number}-{symbol}"
        born = wait_for(lambda m=mark: s6.state(m), 10, f"{name}: booked")  # type: ignore[misc]
        assert born["q0"] == qty, name
        if code:
            s6.alert(code, mark)


def test_a_result_that_contradicts_its_position(s6: Running) -> None:
    symbol, other = s6.symbol(), s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    s6.paper.raw(f"ord:result:{other}", **result(other, pid, client_order_id="other"))
    put_aside(s6, f"ord:result:{other}", pid)
    s6.paper.raw(f"ord:result:{symbol}", **result(symbol, pid, client_order_id="wrong", kind="EXIT", side="BUY"))
    put_aside(s6, f"ord:result:{symbol}", "wrong")
    agrees(s6, pid, symbol)


@pytest.mark.parametrize("mark", ["", "0", "-1", "NaN", "1e999", "forty"])
def test_ticks(s6: Running, mark: str) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    s6.redis.xadd(f"mkt:{symbol}", {"ts": now_ms(), "mark": mark, "bid": "1", "ask": "1", "of": f"t-{symbol}"})
    s6.redis.xadd(f"mkt:{symbol}", {"ts": "now", "mark": "40000", "bid": "1", "ask": "1", "of": f"u-{symbol}"})
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    put_aside(s6, f"mkt:{symbol}", f"t-{symbol}")
    put_aside(s6, f"mkt:{symbol}", f"u-{symbol}")


def test_features(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    good = {"ts": str(now_ms()), "atr": "100", "regime": "NORMAL"}
    bad = [{"atr": "-5"}, {"atr": "wide"}, {"ts": ""}, {"signal": "UP", "signal_id": "x"}, {"regime": "x" * 100}]
    for number, fields in enumerate(bad):
        s6.redis.xadd(f"feat:events:{symbol}", {**good, **fields, "of": f"f{number}-{symbol}"})
    s6.paper.feature(symbol, atr=200, regime="NORMAL")
    s6.protected(pid, price=39_600)
    for number in range(len(bad)):
        put_aside(s6, f"feat:events:{symbol}", f"f{number}-{symbol}")


def test_a_regime_that_the_bundle_does_not_know(s6: Running) -> None:
    symbol = s6.symbol()
    s6.paper.feature(symbol, atr=200, regime="STORM")
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_600)  # 2 ATR, the default regime's
    alert = s6.alert("REGIME_UNKNOWN", matching=lambda found: symbol in found["detail"])
    assert (alert["severity"], pid in alert["detail"]) == ("WARN", False)  # one a symbol, not one a position


def test_news_of_bundles(s6: Running) -> None:
    bad = {"no json", "{}", '{"version": 7, "ts": 1}', "[]"}
    for text in bad:
        s6.redis.publish("cfg:events", text)

    def put_aside() -> set[str]:
        return {f["payload"] for _, f in s6.redis.xrange("s6:deadletter") if f["source"] == "cfg:events"}

    wait_for(lambda: bad <= put_aside(), 10, "four dead letters")
    s6.symbol()  # waits for the next version


def test_malformed_health_keys_are_no_news(s6: Running) -> None:
    for text in ("down", '{"status": "FINE"}', "[1]"):
        s6.redis.set("prod:health:ws", text)
        wait_for(lambda: s6.health()["mode"] == "NORMAL", 5)
    s6.alert("HEALTH_KEY_MALFORMED")


def test_streams_are_read_by_the_group_s6_from_the_beginning(s6: Running) -> None:
    """An entry that was there before anybody knew of the stream is applied."""
    symbol = s6.symbol(mark=None)
    pid = f"early-{symbol}"
    s6.redis.set("risk:concurrency:FUT", int(s6.redis.get("risk:concurrency:FUT") or 0) + 1)
    s6.redis.set("risk:budget:FUT", str(D(s6.redis.get("risk:budget:FUT") or "0") + 400))
    strange = f"Q{symbol}"
    s6.paper.raw(f"ord:result:{strange}", **result(strange, pid))
    s6.paper.raw(f"ord:result:{strange}", **result(strange, pid, client_order_id="out", kind="EXIT", side="SELL"))
    wait_for(lambda: s6.state(pid).get("status") == "CLOSED", 10, "closed again")
    groups = s6.redis.xinfo_groups(f"ord:result:{strange}")
    assert [g["name"] for g in groups] == ["s6"]
    s6.quotas_agree()


@pytest.mark.parametrize("kind", ["results", "ticks", "features", "news", "health"])
def test_bytes_that_are_no_text(s6: Running, kind: str) -> None:
    """One byte that isn't UTF-8, by every way in, and the next message is handled."""
    symbol = s6.symbol()
    if kind == "results":
        s6.redis.xadd(f"ord:result:{symbol}", {"ts": 1, "reason": b"\xff"})
        assert "\\xff" in jsonx.loads(put_aside(s6, f"ord:result:{symbol}", "xff")["payload"])["reason"]
    elif kind == "ticks":
        s6.redis.xadd(f"mkt:{symbol}", {"ts": now_ms(), "mark": "40000", "of": b"\xff"})
        put_aside(s6, f"mkt:{symbol}", "xff")
    elif kind == "features":
        s6.redis.xadd(f"feat:events:{symbol}", {b"\xff": "1", "ts": now_ms(), "atr": "100", "regime": "NORMAL"})
        put_aside(s6, f"feat:events:{symbol}", "xff")
    elif kind == "news":
        s6.redis.publish("cfg:events", b"\xff" + symbol.encode())
        put_aside(s6, "cfg:events", f"\\xff{symbol}")
    else:
        s6.redis.set("prod:health:s2", b"\xff")
        s6.alert("HEALTH_KEY_MALFORMED", matching=lambda alert: "prod:health:s2" in alert["detail"])
    s6.protected(s6.enter(symbol), price=39_200)
    s6.paper.tick(symbol, 42_000)
    s6.protected(s6.enter(symbol), price=D("41160"))
    s6.redis.delete("prod:health:s2")


def test_a_tick_from_the_future(s6: Running) -> None:
    symbol = s6.symbol(mark=43_000)
    pid = s6.enter(symbol, qty="1")
    s6.protected(pid)
    s6.redis.xadd(f"mkt:{symbol}", {"ts": now_ms() + 3_600_000, "mark": "43000", "bid": "1", "ask": "1", "of": "later"})
    put_aside(s6, f"mkt:{symbol}", "later")
    s6.paper.tick(symbol, 45_150)
    s6.protected(pid, price=43_860)


def test_a_flood_of_malformed_ticks_is_one_alert(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    pipe = s6.redis.pipeline(transaction=False)
    for _ in range(10_000):
        pipe.xadd(f"mkt:{symbol}", {"ts": now_ms(), "mark": "NaN", "bid": "1", "ask": "1"})
    pipe.execute()
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)

    def put_aside() -> bool:
        letters = s6.redis.xrevrange("s6:deadletter", count=20_000)
        return bool(sum(fields["source"] == f"mkt:{symbol}" for _, fields in letters) == 10_000)

    wait_for(put_aside, 60, "10,000 dead letters", every=1.0)
    told = [a for a in s6.alerts("DEADLETTER") if a["detail"].startswith(f"mkt:{symbol} ")]
    assert 1 <= len(told) <= 2  # a minute may have passed
    repeats = [int(s6.redis.hget(f"{{s6:alerts}}:doc:{a['alert_id']}", "repeats")) for a in told]
    assert sum(repeats) + len(told) == 10_000
