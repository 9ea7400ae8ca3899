"""Processes killed at awkward moments, and ended politely."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.agreement import agrees
from tests.e2e.running import Running
from tests.support.waiting import wait_for

RESTART = 30_000


@pytest.fixture
def s6(s6: Running) -> Iterator[Running]:
    """Whatever was ended is there again afterwards."""
    yield s6
    for name in ("web", "worker", "beat", "listener"):
        if not s6.s6[name].alive:
            s6.s6.start(name)
    s6.s6.ready().healthy()


def killed(s6: Running, name: str) -> None:
    s6.paper.note(f"{name} killed", lasts_ms=RESTART)
    s6.s6[name].kill()
    s6.s6.start(name)


def test_the_worker_dies_between_cancel_and_place(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid, price=39_200)
    s6.paper.script("cancel:SL", "CANCELED", ms=300)
    s6.paper.script("s4.orders", "latency", ms=1500)
    s6.paper.tick(symbol, 42_000)
    wait_for(lambda: s6.ledger(pid, "cancel"), 5, "the cancel's outcome")
    killed(s6, "worker")
    wait_for(lambda: s6.stop(pid).get("price") == "40800", 60, "the new stop")
    s6.protected(pid, price=40_800)
    assert [o["status"] for o in s6.orders(pid, kind="SL")] == ["CANCELED", "NEW"]
    agrees(s6, pid, symbol)


def test_the_worker_dies_with_an_exit_under_way(s6: Running) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid)
    s6.paper.script("s4.orders", "hang_after", ms=2000)
    s6.managed(pid, "EXIT")
    wait_for(lambda: [b for b in s6.requests(pid, "s4.orders") if b["kind"] == "EXIT"], 5, "the request")
    killed(s6, "worker")
    s6.s6.ready(("worker",))
    s6.closed(pid)
    assert len(s6.orders(pid, kind="EXIT")) == 1
    agrees(s6, pid, symbol)


def test_another_listener_claims_what_a_dead_one_left(s6: Running) -> None:
    """It is frozen when the results come, and killed: they were handed to it, and to nobody else."""
    symbol = s6.symbol()
    stream = f"ord:result:{symbol}"
    wait_for(lambda: s6.redis.exists(stream), 10, "the stream's group")
    first = s6.s6["listener"]
    s6.s6.start("listener")
    s6.s6.ready(("listener",))
    s6.paper.note("listener frozen and killed", lasts_ms=RESTART)
    first.freeze()
    victim = next(g["consumers"] for g in s6.redis.xinfo_groups(stream))
    assert victim >= 1
    pid = s6.enter(symbol)
    first.kill()
    s6.protected(pid)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    wait_for(lambda: s6.redis.xpending(stream, "s6")["pending"] == 0, 10, "nothing pending")
    agrees(s6, pid, symbol)


def test_entries_left_pending_by_a_dead_consumer(s6: Running) -> None:
    symbol = s6.symbol()
    stream = f"ord:result:{symbol}"
    wait_for(lambda: s6.redis.exists(stream), 10, "the stream's group")
    s6.paper.note("listener killed", lasts_ms=RESTART)
    s6.s6["listener"].kill()
    pid = s6.enter(symbol)
    read = s6.redis.xreadgroup("s6", "the-dead-one", {stream: ">"}, count=10)
    assert read
    s6.s6.start("listener")
    wait_for(lambda: s6.state(pid), 60, "the entry claimed")
    s6.protected(pid)
    wait_for(lambda: s6.redis.xpending(stream, "s6")["pending"] == 0, 10, "nothing left pending")
    agrees(s6, pid, symbol)


def test_results_while_no_listener_is_there(s6: Running) -> None:
    symbol = s6.symbol(fut={"tp_ladder": [{"roe": "0.5", "fraction": "0.5"}]})
    pid = s6.enter(symbol)
    s6.protected(pid)
    s6.paper.note("listener killed", lasts_ms=RESTART)
    s6.s6["listener"].kill()
    s6.paper.manual_close(pid, "0.04")
    s6.paper.tick(symbol, 41_000)
    s6.s6.start("listener")
    wait_for(lambda: s6.state(pid)["qty"] == "0.06", 60, "the close applied")
    s6.protected(pid, qty="0.06")
    agrees(s6, pid, symbol)


@pytest.mark.parametrize("name", ["web", "worker", "beat", "listener"])
def test_sigterm_ends_it_in_time(s6: Running, name: str) -> None:
    symbol = s6.symbol()
    pid = s6.enter(symbol)
    s6.protected(pid)
    s6.paper.note(f"{name} ended", lasts_ms=RESTART)
    assert s6.s6[name].stop(10) == 0


def test_sigterm_ends_a_worker_that_waits_for_s4(s6: Running) -> None:
    symbol = s6.symbol()
    s6.paper.note("S4 hangs, worker ended", lasts_ms=RESTART)
    s6.paper.script("s4.orders", "hang_before", ms=8000, count=3)
    pid = s6.enter(symbol)
    wait_for(lambda: s6.requests(pid, "s4.orders"), 10, "a request")
    assert s6.s6["worker"].stop(10) == 0
    s6.s6.start("worker")
    wait_for(lambda: s6.stop(pid), 60, "the stop")
    s6.protected(pid, price=39_200)
    assert len(s6.orders(pid, kind="SL")) == 1


def test_a_second_beat_does_no_harm(s6: Running) -> None:
    symbol = s6.symbol()
    second = s6.s6.start("beat")
    s6.s6.ready(("beat",))
    pid = s6.enter(symbol)
    s6.protected(pid)
    s6.paper.tick(symbol, 42_000)
    s6.protected(pid, price=40_800)
    agrees(s6, pid, symbol)
    assert second.stop(10) == 0
