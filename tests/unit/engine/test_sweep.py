"""The sweep asks for an evaluation where something is to do, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6 import keys
from s6.engine.operation import begin
from s6.model.commit import Commit, QuotaMove
from s6.model.market import Features, Tick
from s6.model.position import Order, Position
from s6.plan import Action
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, stopped
from tests.unit.losses import FIRST

QUIET: dict[str, Any] = {"bundle_version": "b-1", "ladder": "[]"}


@pytest.fixture
def desk() -> Desk:
    desk = Desk(bundle(fut={"stagnation": {"after_s": 60, "abs_roe_below": 0.05}}))
    tick(desk, 40_000)
    return desk


def tick(desk: Desk, mark: int) -> None:
    desk.state.put_tick("BTCUSDT", Tick(desk.clock.now, D(mark), D(mark), D(mark)))


def at_work(kind: Any, **members: Any) -> Position:
    order = Order(f"{kind}-1", "i", kind, "SELL", "MARKET", D("0.2"), "NEW", NOW, 1, True)
    held = stopped(39_300, **QUIET)
    return replace(held, orders=(*held.orders, replace(order, **members)))


HELD = stopped(39_300, **QUIET)
CASES: dict[str, tuple[Position, int, list[str]]] = {
    "nothing to do": (HELD, 0, []),
    "no stop": (position(**QUIET), 0, ["p1"]),
    "closed": (replace(HELD, status="CLOSED", qty=D(0), orders=(), sl_order=""), 0, ["p1"]),
    "unverified": (replace(HELD, unverified_from=FIRST), 0, ["p1"]),
    "an order S4 has been silent about": (at_work("TP"), 2_001, ["p1"]),
    "an order S4 may yet speak of": (at_work("TP"), 2_000, []),
    "breached": (stopped(40_000, **QUIET), 0, ["p1"]),
    "breached, and known so": (stopped(40_000, breach_ts=NOW, **QUIET), 1_999, []),
    "breached for too long": (stopped(40_000, breach_ts=NOW, **QUIET), 2_000, ["p1"]),
    "stagnates": (replace(HELD, best_ts=NOW - 60_000, best_roe=D(1)), 0, ["p1"]),
    "stagnates, and known so": (replace(HELD, best_ts=NOW - 60_000, best_roe=D(1), stagnated=True), 0, []),
    "a new best": (replace(HELD, best_roe=D(-1), best_ts=NOW - 60_000), 0, []),
    "a new best after long": (replace(HELD, best_roe=D(-1), best_ts=NOW - 60_001), 0, ["p1"]),
}


@pytest.mark.parametrize(("held", "later_ms", "hinted"), CASES.values(), ids=CASES)
def test_where_something_is_to_do_an_evaluation_is_asked_for(
    desk: Desk, held: Position, later_ms: int, hinted: list[str]
) -> None:
    desk.put(held)
    desk.clock.now += later_ms
    tick(desk, 40_000)
    assert desk.sweep.run().hinted == hinted
    assert desk.hints.evaluated == hinted


def test_an_operation_in_flight_is_looked_after(desk: Desk) -> None:
    desk.put(*begin(HELD, Action("EXIT", "OPERATOR", D(1)), NOW))
    assert desk.sweep.run().hinted == ["p1"]


def test_the_mode_of_the_moment_decides_about_adds(desk: Desk) -> None:
    desk.rules.bundle = bundle(fut={"add_on": {"roe_gate": 0}})
    desk.state.put_features("BTCUSDT", Features(NOW, D(0), "NORMAL", "LONG", "s1", NOW))
    desk.put(HELD)
    desk.rules.word = "RISK_REDUCTION_ONLY"
    assert desk.sweep.run().hinted == []
    desk.rules.word = "NORMAL"
    assert desk.sweep.run().hinted == ["p1"]


def test_what_was_found_is_counted(desk: Desk) -> None:
    for number in range(3):
        desk.put(replace(HELD, position_id=f"q{number}"))
    desk.put(replace(HELD, position_id="p8", stagnated=True))
    desk.put(replace(HELD, position_id="p9", stagnated=True, status="CLOSED", qty=D(0)))
    swept = desk.sweep.run()
    assert (swept.positions, swept.open, swept.stagnated) == (5, 4, 1)
    told = {name: value for _, name, value, _ in desk.metrics.samples}
    assert told.pop("s6_sweep_seconds") >= 0
    figures = {"s6_sweep_positions": 5, "s6_open_positions": 4, "s6_stagnated_positions": 1}
    assert {name: told.get(name) for name in figures} == figures


def test_every_position_is_read_however_many_there_are(desk: Desk) -> None:
    for number in range(501):
        desk.write(replace(HELD, position_id=f"p{number}"))
    desk.redis.do_sadd(keys.open_positions("BTCUSDT"), "gone")  # named by the index alone
    assert desk.sweep.run().positions == 501


def test_a_period_has_one_sweep_however_many_ask(desk: Desk) -> None:
    desk.put(position())
    desk.sweep.run_once()
    desk.clock.now += 8_999
    desk.sweep.run_once()
    assert desk.hints.evaluated == ["p1"]
    assert desk.redis.do_hget(keys.SWEEP_LAST, "ts") == str(NOW)
    desk.clock.now += 1
    desk.sweep.run_once()
    assert desk.hints.evaluated == ["p1", "p1"]


def test_two_never_sweep_at_once(desk: Desk) -> None:
    desk.put(position())
    token = desk.state.lock(*keys.SWEEP_LOCK)
    assert token is not None
    desk.sweep.run_once()
    assert desk.hints.evaluated == []
    assert desk.redis.do_hget(keys.SWEEP_LAST, "ts") is None
    desk.state.unlock(keys.SWEEP_LOCK.key, token)
    desk.clock.now += 9_000
    desk.sweep.run_once()
    assert desk.hints.evaluated == ["p1"]
    assert desk.state.lock(*keys.SWEEP_LOCK) is not None  # given back


def test_one_symbol_is_screened_when_its_features_change(desk: Desk) -> None:
    desk.put(position())
    desk.put(position(position_id="p2", symbol="ETHUSDT"))
    desk.sweep.screen("ETHUSDT")
    assert desk.hints.evaluated == []  # the bundle doesn't know it
    desk.sweep.screen("BTCUSDT")
    assert desk.hints.evaluated == ["p1"]


def test_without_a_bundle_nothing_is_asked_for(desk: Desk) -> None:
    desk.put(position())
    desk.rules.bundle = None
    desk.sweep.screen("BTCUSDT")
    assert (desk.sweep.run().positions, desk.hints.evaluated) == (0, [])


def test_places_of_adds_that_nobody_sends_are_given_back(desk: Desk) -> None:
    for name in ("gone", "idle", "begun", "sent", "taking"):
        desk.state.reserve_add(name, "ADD-1", D(1), limit=None, room=None)
    desk.put(replace(HELD, position_id="idle"))
    held, op = begin(replace(HELD, position_id="begun"), Action("ADD", "SIGNAL", D(1)), NOW)
    desk.put(held, op)
    desk.put(replace(at_work("ADD"), position_id="sent"))
    held, op = begin(replace(HELD, position_id="taking"), Action("TP_PARTIAL", "RUNG", D(1)), NOW)
    desk.put(held, op)
    desk.put(replace(HELD, position_id="moving"))
    desk.state.reserve_add("moving", "ADD-1", D(1), limit=None, room=None)
    desk.sweep.run()
    assert len(desk.state.adds_reserved()) == 6  # they may be about to be written down
    desk.clock.now += 60_000
    move = QuotaMove("m", keys.budget("FUT"), D(1))
    assert desk.state.commit(Commit(desk.now("moving"), None, quotas=(move,))) is not None
    desk.sweep.run()
    assert sorted(desk.state.adds_reserved()) == ["begun", "moving", "sent"]
    desk.state.relay_events("moving", desk.alerts.deliver)
    desk.sweep.run()
    assert sorted(desk.state.adds_reserved()) == ["begun", "sent"]
