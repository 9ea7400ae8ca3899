"""Two listeners share the streams: what they book is what happened, in the order in which it happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby

import pytest

from tests.e2e.agreement import state_agrees, stop_agrees
from tests.e2e.running import D, Running
from tests.support.paper_client import PaperClient
from tests.support.procs import Process
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
POSITIONS = 4


@pytest.fixture
def second(s6: Running) -> Iterator[Process]:
    """Another listener, for the time of one test."""
    first, process = s6.s6["listener"], s6.s6.start("listener")
    s6.s6.ready(("listener",))
    yield process
    if process.alive:
        assert process.stop() == 0
    s6.s6.started.remove(process)
    assert first is s6.s6["listener"] and first.alive


def trade(url: str, symbol: str, lives: int, pid: str) -> None:
    """Enter, add, close in part, add, close the rest, and so again; each thing done right after the other."""
    paper = PaperClient(url)
    for _ in range(lives):
        paper.open_position(pid, symbol, "LONG", "0.1", force=True)
        paper.open_position(pid, symbol, "LONG", "0.2", force=True)
        paper.manual_close(pid, "0.25")
        paper.open_position(pid, symbol, "LONG", "0.1", force=True)
        paper.manual_close(pid)
    paper.open_position(pid, symbol, "LONG", "0.1", force=True)
    paper.close()


def booked_as_it_happened(s6: Running, symbol: str, pid: str, lives: int) -> None:
    """The stops on the way are not judged: they were always a few closes behind."""
    state, fills = s6.holds(pid, "0.1"), s6.ledger(pid, "fill")
    state_agrees(state, s6.paper.position(pid), fills)
    assert state["life"] == str(lives + 1)
    stop_agrees(s6, pid, state)
    shots = s6.timeline(pid)
    assert [shot["seq"] for shot in shots] == list(range(1, len(shots) + 1))
    booked = [qty for qty, _ in groupby(D(str(shot["qty"])) for shot in shots if shot["phase"] == "RESULT")]
    assert booked == [D(str(record["qty"])) for record in s6.ledger(pid, "position")]
    entries = [(str(fill["qty"]), str(fill["price"])) for fill in fills if fill["kind"] == "ENTRY"]
    told = s6.events(symbol, "ENTRY", position_id=pid)
    assert [(event["qty"], event["price"]) for event in told] == entries
    assert len(s6.events(symbol, "EXIT", position_id=pid)) == lives


@pytest.mark.parametrize(("fate", "lives"), [("lives", 10), ("is frozen for a while", 5), ("dies", 5)])
def test_adds_and_closes_of_one_symbol(s6: Running, second: Process, fate: str, lives: int) -> None:
    symbol = s6.symbol()
    stream = f"ord:result:{symbol}"
    oversold = len(s6.alerts("OVERSELL"))
    names = [f"both{number}-{symbol}" for number in range(POSITIONS)]
    with ThreadPoolExecutor(POSITIONS) as threads:
        trades = threads.map(partial(trade, s6.paper.base_url, symbol, lives), names)
        if fate != "lives":
            wait_for(lambda: s6.redis.xlen(stream) > 20, 10, "results of some trades")
            second.freeze()
            time.sleep(2)  # the length of the freeze is what is tested: longer than it takes to be given up
            second.thaw() if fate != "dies" else second.kill()
        list(trades)
    wait_for(lambda: s6.redis.xpending(stream, "s6")["pending"] == 0, 20, "all booked")
    for pid in names:
        booked_as_it_happened(s6, symbol, pid, lives)
    s6.quotas_agree()
    assert len(s6.alerts("OVERSELL")) == oversold
