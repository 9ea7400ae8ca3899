"""A position that the exchange no longer has, without a closing result: people are told, and close its books."""

from __future__ import annotations

from tests.e2e.running import D, Running
from tests.support.waiting import wait_for


def test_what_the_exchange_no_longer_holds_is_told_and_written_off(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    s6.paper.fault(exchange={"nothing_left": "http"})
    s6.paper.script("result:EXIT", "delay", ms=600_000, count=10)
    s6.paper.manual_close(pid)
    s6.managed(pid, "EXIT")

    def sent() -> list[int]:
        return [int(str(r["ts"])) for r in s6.ledger(pid, "request") if r["route"] == "s4.orders"][1:]

    [refused, *_] = wait_for(sent, 5, "the EXIT sent") or [0]
    told = s6.alert("POSITION_MISSING", pid)
    assert told["severity"] == "ERROR"
    assert int(told["ts"]) - refused >= 9_000
    assert s6.state(pid)["status"] == "OPEN"
    s6.ticked(symbol, 40_500)
    answer = s6.managed(pid, "WRITE_OFF")
    assert [order["kind"] for order in answer["orders"]] == ["CANCEL"]
    state = s6.closed(pid)
    assert (state["status"], D(state["realized_pnl_usdt"])) == ("CLOSED", D("48.4"))  # the entry's fee is 1.6
    [left] = s6.event(symbol, "EXIT")
    assert (left["reason"], D(left["qty"]), D(left["price"])) == ("WRITTEN_OFF", D("0.1"), D(40_500))
    wait_for(lambda: s6.orders(pid, live=True) == [], 10, "nothing rests")
    assert s6.managed(pid, "WRITE_OFF")["plan"]["actions"] == []
    assert len(s6.events(symbol, "EXIT")) == 1
