"""STOP_MOVE, outcome by outcome (CONTRACT §3), as S4 sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.agreement import agrees
from tests.e2e.running import BUNDLE, D, Running
from tests.support.waiting import wait_for


@pytest.fixture
def symbol(s6: Running) -> str:
    return s6.symbol()


@pytest.fixture
def pid(s6: Running, symbol: str) -> Iterator[str]:
    """A protected LONG of 0.1 at 40000, its stop at 39200; ROE 0.5 and the stop at 40800 come at 42000."""
    position_id = s6.enter(symbol)
    s6.protected(position_id, price=39_200)
    yield position_id
    s6.paper.clear_faults()


def stops(s6: Running, pid: str) -> list[tuple[Any, Any]]:
    return [(o["stopPx"], o["status"]) for o in s6.orders(pid, kind="SL")]


def one_body_each(s6: Running, pid: str) -> int:
    """Each ``client_order_id`` was sent with one body and one intent; how many requests there were."""
    sent = s6.requests(pid, "s4.orders")
    bodies: dict[str, dict[str, Any]] = {}
    for body in sent:
        assert bodies.setdefault(body["client_order_id"], body) == body
    assert len({body["intent_id"] for body in bodies.values()}) == len(bodies)
    return len(sent)


@pytest.mark.parametrize("cancel_after_ms", [300, 0])
def test_filled_instead(s6: Running, symbol: str, pid: str, cancel_after_ms: int) -> None:
    s6.paper.script("cancel:SL", "FILL", ms=cancel_after_ms)
    s6.paper.tick(symbol, 42_000)
    s6.closed(pid)
    assert stops(s6, pid) == [(39_200, "FILLED")]
    agrees(s6, pid, symbol)


def test_filled_before_the_cancel_409(s6: Running, symbol: str, pid: str) -> None:
    """The fill's result is late, so S6 cancels what is filled already."""
    s6.paper.script("result:SL:FILLED", "delay", ms=1500)
    s6.paper.tick(symbol, 39_100, to="exchange")
    s6.paper.tick(symbol, 42_000, to="stream")
    wait_for(lambda: s6.requests(pid, "s4.cancel"), 5, "a cancel")
    s6.closed(pid)
    answers = [r for r in s6.paper.ledger(what="answer") if r["route"] == "s4.cancel"]
    assert (answers[-1]["status"], answers[-1]["body"]["status"]) == (409, "FILLED")  # type: ignore[index]
    assert stops(s6, pid) == [(39_200, "FILLED")]
    agrees(s6, pid, symbol, in_order=False)


def test_partly_filled_while_it_was_cancelled(s6: Running, symbol: str, pid: str) -> None:
    """The new stop is for what is held then."""
    s6.paper.script("cancel:SL", "PARTIAL_FILL", ms=100)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800, qty="0.05")
    s6.holds(pid, "0.05")
    agrees(s6, pid, symbol, in_order=False)


def test_gone_already_409(s6: Running, symbol: str, pid: str) -> None:
    s6.paper.script("result:SL:CANCELED", "delay", ms=3000)
    old = s6.stop(pid)["client_order_id"]
    body = {"intent_id": "somebody-else", "client_order_id": old, "position_id": pid, "symbol": symbol}
    assert s6.http.post(f"{s6.paper.base_url}/s4/cancel", json=body, timeout=5).status_code == 202
    wait_for(lambda: stops(s6, pid) == [(39_200, "CANCELED")], 5)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    s6.holds(pid, "0.1")
    assert stops(s6, pid) == [(39_200, "CANCELED"), (40_800, "NEW")]


def test_a_stop_cancelled_by_somebody_else_is_restored(s6: Running, symbol: str, pid: str) -> None:
    old = s6.stop(pid)["client_order_id"]
    body = {"intent_id": "somebody-else", "client_order_id": old, "position_id": pid, "symbol": symbol}
    assert s6.http.post(f"{s6.paper.base_url}/s4/cancel", json=body, timeout=5).status_code == 202
    wait_for(lambda: stops(s6, pid) == [(39_200, "CANCELED"), (39_200, "NEW")], 5)
    s6.protected(pid, price=39_200)
    agrees(s6, pid, symbol)


def test_cancel_rejected_and_live(s6: Running, symbol: str, pid: str) -> None:
    """The old stop stays, and the move is tried again later."""
    s6.paper.script("cancel:SL", "REJECTED")
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    cancels = s6.requests(pid, "s4.cancel")
    assert len(cancels) == 2
    assert [r["outcome"] for r in s6.ledger(pid, "cancel")] == ["REJECTED", "CANCELED"]
    agrees(s6, pid, symbol)


@pytest.mark.parametrize("outcome", ["SILENT_CANCELED", "SILENT_LIVE"])
def test_silence_is_ended_by_asking(s6: Running, symbol: str, pid: str, outcome: str) -> None:
    s6.paper.script("cancel:SL", outcome)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    seen = s6.paper.ledger(what="request")
    old = str(s6.orders(pid, kind="SL")[0]["client_order_id"])
    asked = [r for r in seen if r["route"] == "s4.order" and str(r["path"]).endswith(old)]
    cancel = next(r for r in s6.ledger(pid, "request") if r["route"] == "s4.cancel")
    assert asked
    assert int(str(asked[0]["ts"])) - int(str(cancel["ts"])) >= 1000  # cancel_wait_ms
    place = [r for r in s6.ledger(pid, "request") if r["route"] == "s4.orders"][-1]
    assert place["n"] > asked[0]["n"]  # type: ignore[operator]
    assert [s for _, s in stops(s6, pid)] == ["CANCELED", "NEW"]
    assert [v for v in s6.violations(pid) if v.kind != "UNPROTECTED"] == []


@pytest.mark.parametrize("via", ["http", "stream"])
def test_would_trigger_means_one_market_exit(s6: Running, symbol: str, pid: str, via: str) -> None:
    s6.paper.script("order:SL", "reject", reason="WOULD_TRIGGER", via=via)
    s6.paper.tick(symbol, 42_000)
    s6.closed(pid)
    exits = s6.orders(pid, kind="EXIT")
    assert [(o["type"], o["qty"], o["reduceOnly"], o["status"]) for o in exits] == [
        ("MARKET", D("0.1"), True, "FILLED")
    ]
    assert [price for price, _ in stops(s6, pid)] == [39_200, *([40_800] if via == "stream" else [])]
    agrees(s6, pid, symbol)


def test_would_trigger_for_real(s6: Running, symbol: str, pid: str) -> None:
    """The market falls back through the new price between the cancel and the place, which S4 answers only then."""
    s6.paper.fault(http={"s4.orders": {"down": "error"}})
    s6.paper.tick(symbol, 42_000)
    wait_for(lambda: len(s6.requests(pid, "s4.orders")) > 1, 10, "the new stop on its way")
    s6.paper.tick(symbol, 40_500)
    s6.paper.clear_faults()
    s6.closed(pid)
    assert len(s6.orders(pid, kind="EXIT")) == 1
    agrees(s6, pid, symbol)


@pytest.mark.parametrize("via", ["http", "stream"])
def test_refused_otherwise_means_the_old_price_again(s6: Running, symbol: str, pid: str, via: str) -> None:
    s6.paper.script("order:SL", "reject", reason="TOO_MANY_ORDERS", via=via)
    s6.paper.tick(symbol, 42_000)
    wait_for(lambda: [p for p, _ in stops(s6, pid)].count(39_200) == 2, 5, "the old price again")
    tried = [price for price, _ in stops(s6, pid)]
    assert tried[:3] == [39_200, *([40_800] if via == "stream" else []), 39_200][:3]
    s6.protected(pid, price=40_800)  # the move is tried again, though not at once
    sent = [r for r in s6.ledger(pid, "request") if r["route"] == "s4.orders"]
    refused, again = (int(str(r["ts"])) for r in sent[1:] if r["body"]["stopPx"] == 40_800)  # type: ignore[index]
    assert again - refused >= BUNDLE["execution"]["retry"]["base_ms"]
    assert (s6.orders(pid, kind="EXIT"), s6.state(pid)["status"]) == ([], "OPEN")
    one_body_each(s6, pid)
    assert [v for v in s6.violations(pid) if v.kind != "STOP_LOOSENED"] == []


@pytest.mark.parametrize("via", ["http", "stream"])
def test_refused_twice_means_exit_and_a_fatal_alert(s6: Running, symbol: str, pid: str, via: str) -> None:
    s6.paper.script("order:SL", "reject", reason="TOO_MANY_ORDERS", via=via, count=2)
    s6.paper.tick(symbol, 42_000)
    s6.closed(pid)
    assert len(s6.orders(pid, kind="EXIT")) == 1
    alert = s6.alert("STOP_MOVE_FAILED", pid)
    assert alert["severity"] == "FATAL"
    assert s6.health()["mode"] == "RISK_REDUCTION_ONLY"
    assert len([b for b in s6.requests(pid, "s4.orders") if b["kind"] == "SL"]) == 3
    assert s6.call("POST", f"/alerts/{alert['alert_id']}/ack", {"by": "ops"}).status_code == 200
    wait_for(lambda: s6.health()["mode"] == "NORMAL", 5, "NORMAL again")
    agrees(s6, pid, symbol)


FAULTS = {
    "503": {"action": "error", "status": 503, "count": 3},
    "500 after it was handled": {"action": "error_after", "status": 500, "count": 2},
    "connection reset": {"action": "reset_before", "count": 3},
    "answer lost": {"action": "reset_after", "count": 3},
}


@pytest.mark.parametrize("route", ["s4.cancel", "s4.orders"])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_same_again_until_there_is_an_answer(s6: Running, symbol: str, pid: str, route: str, fault: str) -> None:
    s6.paper.script(route, **FAULTS[fault])  # type: ignore[arg-type]
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    # The stream may tell what became of a request before its repetition is due.
    assert len(s6.requests(pid, route)) >= (2 if "lost" not in fault and "after" not in fault else 1)
    one_body_each(s6, pid)
    cancels = s6.requests(pid, "s4.cancel")
    assert all(body == cancels[0] for body in cancels)
    assert [s for _, s in stops(s6, pid)] == ["CANCELED", "NEW"]
    assert s6.violations(pid) == []


def test_a_timeout_is_bounded_and_repeated(s6: Running, symbol: str, pid: str) -> None:
    s6.paper.script("s4.orders", "hang_before", ms=6000)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    sent = [int(str(r["ts"])) for r in s6.ledger(pid, "request") if r["route"] == "s4.orders"][1:]
    assert len(sent) == 2
    assert 2500 <= sent[1] - sent[0] <= 5500
    one_body_each(s6, pid)
    assert [s for _, s in stops(s6, pid)] == ["CANCELED", "NEW"]


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(s6: Running, symbol: str, pid: str, status: int) -> None:
    s6.paper.script("s4.orders", "error", status=status, retry_after_s=2)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    sent = [int(str(r["ts"])) for r in s6.ledger(pid, "request") if r["route"] == "s4.orders"][1:]
    assert len(sent) == 2
    assert 1990 <= sent[1] - sent[0] <= 3500
    one_body_each(s6, pid)


def test_the_first_stop_through_an_outage(s6: Running, symbol: str) -> None:
    """Attempts beyond the limit are told of, and go on: protection is never given up."""
    s6.paper.script("s4.orders", "error", status=503, count=8)
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    one_body_each(s6, pid)
    assert s6.alert("RETRIES_EXHAUSTED", pid)["severity"] == "ERROR"
    assert len(s6.orders(pid, kind="SL")) == 1


def test_what_s4_would_refuse_is_never_begun(s6: Running) -> None:
    """The rest that a rung would leave is below the smallest stop; the old stop stays."""
    symbol = s6.symbol(fut={"tp_ladder": [{"roe": D("0.3"), "fraction": D("0.5")}]}, min_qty="0.04")
    pid = s6.enter(symbol, qty="0.1")
    s6.protected(pid, price=39_200)
    s6.paper.manual_close(pid, "0.05")
    s6.protected(pid, price=39_200, qty="0.05")
    s6.paper.tick(symbol, 41_300)
    s6.closed(pid)  # half of 0.05 is too small, and so is what would remain: all of it
    assert [o["qty"] for o in s6.orders(pid, kind="TP")] == [D("0.05")]
    agrees(s6, pid, symbol)


def test_a_breached_stop_that_does_not_fill_is_left_at_market(s6: Running, symbol: str, pid: str) -> None:
    """S4's fill is due; after ``breach_grace_ms`` without one: one market EXIT."""
    s6.paper.tick(symbol, 39_100, to="stream")
    crossed = s6.health()
    assert crossed["status"] in ("OK", "DEGRADED")
    wait_for(lambda: s6.orders(pid, kind="EXIT"), 10, "an EXIT")
    s6.closed(pid)
    (leave,) = s6.orders(pid, kind="EXIT")
    assert (leave["qty"], leave["reduceOnly"]) == (D("0.1"), True)
    agrees(s6, pid, symbol)
