"""Results as they come in life: in parts, twice, out of order, of strangers' orders, for positions not born yet."""

from __future__ import annotations

from s6.keys import PARKED
from s6.paper.ledger import now_ms
from tests.e2e.agreement import agrees
from tests.e2e.running import D, Running
from tests.support.waiting import wait_for

LADDER = {"tp_ladder": [{"roe": D("0.5"), "fraction": D("0.5")}]}


def result(s6: Running, symbol: str, pid: str, name: str = "x1", /, **fields: object) -> None:
    """An entry of ``ord:result:SYMBOL`` by hand."""
    entry: dict[str, object] = {
        "ts": now_ms(),
        "symbol": symbol,
        "market": "FUT",
        "position_id": pid,
        "client_order_id": f"{name}-{pid}"[:36],
        "intent_id": f"i-{name}-{pid}",
        "kind": "ENTRY",
        "side": "BUY",
        "type": "MARKET",
        "status": "FILLED",
        "qty": "0.1",
        "filled_qty": "0.1",
        "avg_price": "40000",
        **fields,
    }
    s6.paper.raw(f"ord:result:{symbol}", **{name: value for name, value in entry.items() if value is not None})


def born(s6: Running, symbol: str, pid: str, margin: str, **fields: object) -> dict[str, str]:
    """A position that only S6 knows of, its first fill by hand, with what its entry side would take of the quotas."""
    for name, taken in (("concurrency", "1"), ("budget", margin)):
        key = f"risk:{name}:FUT"
        s6.redis.set(key, str(D(s6.redis.get(key) or "0") + D(taken)))
    result(s6, symbol, pid, **fields)
    return wait_for(lambda: s6.state(pid), 5, f"{pid} born") or {}


def closed(s6: Running, symbol: str, *names: str) -> None:
    """Close such positions; all that they took is given back."""
    for pid in names:
        qty = s6.state(pid)["qty"]
        result(s6, symbol, pid, "x9", kind="EXIT", side="SELL", qty=qty, filled_qty=qty)
        wait_for(lambda pid=pid: s6.state(pid)["status"] == "CLOSED", 5)  # type: ignore[misc]
    s6.quotas_agree()


def test_an_entry_in_parts_is_protected_from_the_first_and_resized(s6: Running) -> None:
    symbol = s6.symbol()
    s6.paper.fault(exchange={"fill_interval_ms": 400})
    s6.paper.script("fill:ENTRY", "parts", parts=3)
    pid = s6.enter(symbol, qty="0.1")
    s6.protected(pid, qty="0.033")
    s6.paper.tick(symbol, 40_010)
    s6.protected(pid, qty="0.066")
    s6.protected(pid, qty="0.1")
    assert len(s6.events(symbol, "ENTRY")) == 3
    assert len({e["price"] for e in s6.events(symbol, "ENTRY")}) == 2
    assert D(s6.state(pid)["q0"]) == D("0.1")
    agrees(s6, pid, symbol)


def test_take_profit_and_exit_in_parts(s6: Running) -> None:
    symbol = s6.symbol(fut=LADDER)
    pid = s6.enter(symbol)
    s6.protected(pid, qty="0.1")
    s6.paper.script("fill:TP", "parts", parts=3)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800, qty="0.05")
    assert s6.redis.hget(f"pos:tp:ladder:{{{pid}}}", "done") == "[0]"
    assert len(s6.orders(pid, kind="TP")) == 1
    assert len(s6.event(symbol, "TP_PARTIAL", count=3)) == 3
    s6.paper.script("fill:EXIT", "parts", parts=4)
    s6.managed(pid, "EXIT")
    s6.closed(pid)
    assert len(s6.orders(pid, kind="EXIT")) == 1
    agrees(s6, pid, symbol)


def test_every_result_twice(s6: Running) -> None:
    symbol = s6.symbol(fut=LADDER)
    s6.paper.fault(stream={"duplicate_rate": 1})
    s6.paper.script("fill:ENTRY", "parts", parts=3)
    pid = s6.enter(symbol)
    s6.protected(pid, qty="0.1")
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800, qty="0.05")
    s6.paper.tick(symbol, 40_700)
    s6.closed(pid)
    agrees(s6, pid, symbol)


def test_results_out_of_order(s6: Running) -> None:
    symbol = s6.symbol(fut=LADDER)
    pid = s6.enter(symbol)
    s6.protected(pid, qty="0.1")
    s6.paper.fault(stream={"reorder_rate": D("0.5"), "delay_ms": 300}, exchange={"fill_interval_ms": 30})
    s6.paper.script("fill:TP", "parts", parts=5)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800, qty="0.05")
    s6.paper.clear_faults()
    s6.managed(pid, "EXIT")
    s6.closed(pid)
    agrees(s6, pid, symbol, in_order=False)


def test_a_terminal_status_never_returns(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    old = s6.protected(pid, price=39_200)
    s6.paper.tick(symbol, 42_000)
    new = s6.protected(pid, price=40_800)
    more = {"kind": "SL", "side": "SELL", "type": "STOP_MARKET", "filled_qty": "0", "avg_price": None}
    for status in ("NEW", "CANCELED", "NEW"):
        fields = {**more, "client_order_id": old["client_order_id"], "intent_id": "whatever", "status": status}
        result(s6, symbol, pid, **fields)
    s6.managed(pid, "EVAL")
    assert s6.protected(pid) == new
    agrees(s6, pid, symbol)


def test_closed_by_hand_at_the_exchange(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, qty="0.1")
    s6.paper.manual_close(pid, "0.04")
    s6.protected(pid, qty="0.06")
    s6.paper.tick(symbol, 40_100)
    s6.paper.manual_close(pid)
    s6.closed(pid)
    assert s6.orders(pid, kind="SL", live=True) == []
    agrees(s6, pid, symbol)


def test_the_next_life(s6: Running) -> None:
    """``seq`` goes on, the rest starts anew."""
    symbol = s6.symbol(fut=LADDER)
    pid = s6.enter(symbol)
    s6.protected(pid, qty="0.1")
    s6.managed(pid, "PAUSE")
    s6.managed(pid, "RESUME")
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, qty="0.05")
    s6.managed(pid, "PAUSE")
    s6.managed(pid, "EXIT")
    first = s6.closed(pid)
    s6.paper.tick(symbol, 41_000)
    s6.paper.open_position(pid, symbol, "SHORT", "0.2", 5)
    s6.protected(pid, price=41_820, qty="0.2")
    second = s6.state(pid)
    assert int(second["seq"]) > int(first["seq"])
    assert (second["side"], second["sl_level"], second["paused"], second["add_on_count"]) == (
        "SHORT",
        "0",
        "false",
        "0",
    )
    assert s6.redis.hget(f"pos:tp:ladder:{{{pid}}}", "done") == "[]"
    agrees(s6, pid, symbol)
    s6.paper.tick(symbol, 36_900)
    s6.protected(pid, qty="0.1")
    s6.managed(pid, "EXIT")
    s6.closed(pid)
    agrees(s6, pid, symbol)


def test_results_before_their_entry_wait_for_it(s6: Running) -> None:
    symbol = s6.symbol()
    s6.paper.script("result:ENTRY:FILLED", "delay", ms=1500)
    pid = s6.enter(symbol)
    s6.paper.manual_close(pid, "0.03")
    assert s6.state(pid) == {}
    s6.protected(pid, qty="0.07")
    s6.holds(pid, "0.07")
    assert [e["type"] for e in s6.events(symbol)][:2] == ["ENTRY", "RISK_DOWNGRADE"]
    agrees(s6, pid, symbol, in_order=False)


def test_without_figures_s6_computes_them(s6: Running) -> None:
    symbol = s6.symbol()
    pid = f"bare-{symbol}"
    state = born(s6, symbol, pid, "400", leverage="10")
    assert [D(state[name]) for name in ("leverage", "isolated_margin_usdt")] == [10, 400]
    liquidation = (D(40_000) * D("0.1") - 400) / (D("0.1") * (1 - D("0.004")))
    assert abs(D(state["liq_price"]) - liquidation) < D("1e-18")
    assert D(state["realized_pnl_usdt"]) == 0
    closed(s6, symbol, pid)


def test_leverage_missing(s6: Running) -> None:
    """From the margin, else 1 and a WARN."""
    symbol = s6.symbol()
    implied, bare = f"implied-{symbol}", f"bare-{symbol}"
    assert D(born(s6, symbol, implied, "800", isolated_margin_usdt="800")["leverage"]) == 5
    state = born(s6, symbol, bare, "4000")
    assert [D(state[name]) for name in ("leverage", "isolated_margin_usdt", "liq_price")] == [1, 4000, 0]
    assert s6.alert("LEVERAGE_MISSING", bare)["severity"] == "WARN"
    assert s6.alerts("LEVERAGE_MISSING", implied) == []
    closed(s6, symbol, implied, bare)


def test_s4s_own_figures_win(s6: Running) -> None:
    symbol = s6.symbol()
    pid = f"fig-{symbol}"
    figures = {"leverage": "10", "isolated_margin_usdt": "390.5", "liq_price": "36200.1"}
    state = born(s6, symbol, pid, "390.5", fee="1.6", **figures)
    assert (D(state["isolated_margin_usdt"]), D(state["liq_price"])) == (D("390.5"), D("36200.1"))
    assert D(state["realized_pnl_usdt"]) == D("-1.6")
    closed(s6, symbol, pid)


def test_the_price_of_an_increment_follows_from_the_averages(s6: Running) -> None:
    symbol = s6.symbol()
    pid = f"inc-{symbol}"
    born(s6, symbol, pid, "400.6", status="PARTIALLY_FILLED", filled_qty="0.04", leverage="10")
    result(s6, symbol, pid, avg_price="40060", leverage="10")
    result(s6, symbol, pid, status="PARTIALLY_FILLED", filled_qty="0.04", avg_price="40000", leverage="10")
    first, second = s6.event(symbol, "ENTRY", count=2)
    assert [D(first["qty"]), D(first["price"])] == [D("0.04"), 40_000]
    assert [D(second["qty"]), D(second["price"])] == [D("0.06"), 40_100]
    wait_for(lambda: D(s6.state(pid)["entry_price_avg"]) == 40_060, 5)
    closed(s6, symbol, pid)
    assert len(s6.events(symbol, "ENTRY")) == 2


def test_dust_closes_the_position(s6: Running) -> None:
    symbol = s6.symbol()
    pid = f"dust-{symbol}"
    born(s6, symbol, pid, "401.6", qty="0.1004", filled_qty="0.1004", leverage="10")
    result(s6, symbol, pid, "x2", kind="EXIT", side="SELL")
    (left,) = s6.event(symbol, "EXIT")
    assert left["data"]["dust"] == D("0.0004")
    assert (s6.state(pid)["status"], s6.state(pid)["qty"]) == ("CLOSED", "0")
    s6.quotas_agree()


def test_a_rest_too_small_for_a_stop_keeps_the_old_one(s6: Running) -> None:
    """What S4 would refuse is never begun; the old stop, reduceOnly, still closes what is left."""
    symbol = s6.symbol()
    pid = s6.enter(symbol, qty="0.1", leverage=2)
    stop = s6.protected(pid, qty="0.1")
    s6.respecify(symbol, min_notional="500")
    s6.paper.manual_close(pid, "0.09")
    s6.holds(pid, "0.01")
    s6.managed(pid, "EVAL")
    assert s6.stop(pid)["client_order_id"] == stop["client_order_id"]
    assert s6.requests(pid, "s4.cancel") == []
    s6.paper.tick(symbol, 39_100)
    s6.closed(pid)
    assert s6.orders(pid, kind="EXIT")[1:] == []
    assert s6.violations(pid) == []


def test_born_too_small_for_a_stop(s6: Running) -> None:
    symbol = s6.symbol(min_notional="500")
    pid = s6.enter(symbol, side="SHORT", qty="0.01", leverage=2, force=True)
    s6.guarded(pid, price=40_800, qty="0.01")
    assert s6.orders(pid, kind="SL") == []
    assert [e["data"]["new"] for e in s6.events(symbol, "STOP_MOVE")] == [40_800]
    s6.paper.tick(symbol, 40_900)
    s6.closed(pid)
    (guard,) = s6.orders(pid, kind="GUARD")
    assert (guard["side"], guard["reduceOnly"]) == ("BUY", True)


def test_results_whose_entry_never_comes_go_to_the_dead_letters(s6: Running) -> None:
    """After a minute. It is not waited for: the moment that is written down is put forward."""
    symbol = s6.symbol()
    pid = f"orphan-{symbol}"
    began = now_ms()
    result(s6, symbol, pid, kind="TP", side="SELL")

    def parked() -> list[tuple[str, float]]:
        return [row for row in s6.redis.zrange(PARKED, 0, -1, withscores=True) if pid in row[0]]

    ((parcel, due),) = wait_for(parked, 5, "the result parked")
    assert began + 60_000 <= due <= now_ms() + 60_000
    assert not letters_about(s6, pid)
    s6.redis.zadd(PARKED, {parcel: now_ms()})
    wait_for(lambda: letters_about(s6, pid), 3, "a dead letter")
    assert parked() == []
    assert s6.state(pid) == {}
    s6.alert("DEADLETTER", matching=lambda alert: pid in alert["detail"])


def letters_about(s6: Running, pid: str) -> list[dict[str, str]]:
    return [fields for _, fields in s6.redis.xrange("s6:deadletter") if pid in fields["payload"]]
