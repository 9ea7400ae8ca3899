"""What people do to a single position, and what of it the timeline tells; quotas over many ways of closing."""

from __future__ import annotations

from decimal import Decimal

from tests.e2e.running import D, Running
from tests.support.waiting import wait_for


def causes(s6: Running, position_id: str) -> list[str]:
    return [str(shot["cause"]) for shot in s6.timeline(position_id)]


def test_every_word_of_people_is_in_the_timeline_with_name_and_reason(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid)
    for word in ("PAUSE", "RESUME", "EXIT"):
        wait_for(lambda w=word: s6.manage(pid, w, reason=f"why {w}").status_code == 200, 10, word)  # type: ignore[misc]
    s6.closed(pid)
    told = causes(s6, pid)
    for word in ("PAUSE", "RESUME", "EXIT"):
        assert any(cause.startswith(f"{word} by operator: why {word}") for cause in told), told
    paused = [shot["paused"] for shot in s6.timeline(pid) if str(shot["cause"]).startswith(("PAUSE", "RESUME"))]
    assert paused == [True, False]


def test_an_acknowledgement_is_in_the_timeline_once(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol, qty="0.1")
    s6.protected(pid)
    s6.paper.raw(  # S4 reports more closed than was held
        f"ord:result:{symbol}",
        ts=1,
        symbol=symbol,
        market="FUT",
        position_id=pid,
        client_order_id=f"x-{pid}",
        intent_id="x",
        kind="EXIT",
        side="SELL",
        type="MARKET",
        status="FILLED",
        qty="0.3",
        filled_qty="0.3",
        avg_price="40000",
    )
    alert = s6.alert("OVERSELL", pid)
    for name in ("ann", "bob"):
        answer = s6.call("POST", f"/alerts/{alert['alert_id']}/ack", {"by": name, "note": "seen it"})
        assert (answer.status_code, answer.json()["ack"]["by"]) == (200, "ann")
    acks = [cause for cause in causes(s6, pid) if cause.startswith("ACK")]
    assert acks == ["ACK by ann: seen it (ERROR OVERSELL)"]
    shots = s6.timeline(pid)
    assert [shot["seq"] for shot in shots] == list(range(1, len(shots) + 1))
    assert s6.paper.manual_close(pid)
    listed = s6.call("GET", "/alerts?limit=500", token="read-token").json()["items"]
    assert next(a for a in listed if a["alert_id"] == alert["alert_id"])["ack"]["note"] == "seen it"


def test_a_sleeper_is_counted_until_it_wakes(s6: Running) -> None:
    symbol = s6.symbol(fut={"stagnation": {"after_s": 1, "abs_roe_below": D("0.05")}})

    def gauge() -> int:
        text = s6.http.get(f"{s6.s6.url}/metrics", timeout=10).text
        return int(float(next(line.split()[-1] for line in text.splitlines() if line.startswith("s6_stagnated_pos"))))

    def asleep() -> set[str]:
        """Whoever stagnates, positions of other tests among them: the gauge counts them all."""
        keys = s6.redis.scan_iter(match="pos:state:*", count=1000)
        states = (s6.redis.hgetall(key) for key in keys)
        return {p["position_id"] for p in states if p["status"] == "OPEN" and p["stagnated"] == "true"}

    pid = s6.enter(symbol)
    s6.event(symbol, "STAGNATED")
    wait_for(lambda: pid in asleep() and gauge() == len(asleep()), 10, "counted")
    s6.paper.tick(symbol, 40_500)  # a new best, and beyond the bound: it wakes and stays awake
    wait_for(lambda: pid not in asleep() and gauge() == len(asleep()), 15, "awake")
    assert len(s6.events(symbol, "STAGNATED")) == 1
    s6.managed(pid, "EXIT")
    s6.closed(pid)


def test_quotas_are_given_back_whichever_way_a_position_closes(s6: Running) -> None:
    """By its stop, by people, by hand at the exchange in one or more parts, after adds and take-profits, on SPOT."""
    ladder = [{"roe": D("0.3"), "fraction": D("0.5")}]
    adds = {"roe_gate": D("0.1"), "cap": 2, "gamma": D("0.5"), "eta": D("0.8"), "signal_ttl_s": 60}
    symbol = s6.symbol(
        fut={"tp_ladder": ladder, "add_on": adds}, spot={"tp_ladder": [{"roe": D("0.03"), "fraction": D("0.5")}]}
    )
    stopped, left, by_hand, in_parts = (s6.enter(symbol, qty="0.1", leverage=leverage) for leverage in (4, 5, 8, 10))
    spot = s6.enter(symbol, market="SPOT", leverage=1)
    for pid in (stopped, left, by_hand, in_parts):
        s6.protected(pid)
    s6.quotas_agree()
    s6.paper.feature(symbol, atr=200, regime="NORMAL", signal="LONG", signal_id=f"sg-{symbol}")
    s6.paper.tick(symbol, 41_300)
    s6.event(symbol, "ADD", count=2)
    s6.quotas_agree()
    s6.paper.manual_close(in_parts, Decimal("0.02"))
    s6.paper.manual_close(by_hand)
    s6.managed(left, "EXIT")
    s6.quotas_agree()
    s6.paper.manual_close(in_parts)
    s6.paper.tick(symbol, 36_000)
    for pid in (stopped, left, by_hand, in_parts, spot):
        s6.closed(pid)
    s6.quotas_agree()
