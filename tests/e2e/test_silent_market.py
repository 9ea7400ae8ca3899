"""A stream that has died while S1 still answers: S6 asks for the ticks, and acts on them."""

from __future__ import annotations

from tests.e2e.agreement import agrees
from tests.e2e.running import Running
from tests.support.waiting import wait_for


def test_a_guard_is_crossed_in_what_s1_answers(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol, market="SPOT", leverage=1)
    s6.guarded(pid, price=38_000)
    s6.publish(health={"market_stale_ms": 4_000, "poll_interval_s": 1})
    s6.alert("MARKET_STALE", matching=lambda alert: symbol in alert["detail"])
    s6.paper.tick(symbol, 39_000, to="exchange")
    wait_for(lambda: s6.redis.hget(f"s6:market:{symbol}", "mark") == "39000", 5, "S1's answer read")
    s6.alert("MARKET_STALE_OVER", matching=lambda alert: symbol in alert["detail"])
    s6.paper.tick(symbol, 37_900, to="exchange")
    s6.closed(pid)
    assert [order["status"] for order in s6.orders(pid, kind="GUARD")] == ["FILLED"]
    s6.publish(health=None)
    agrees(s6, pid, symbol)
