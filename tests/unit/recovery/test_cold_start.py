"""Coming up: what is torn is mended, what is lost is rebuilt, every live order is asked for, all are evaluated."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from s6 import keys
from s6.model.wire import OrderResult
from s6.ports import NeighbourUnavailable, StateUnavailable
from s6.recovery.cold_start import Report
from tests.doubles.memory_redis import no_hook
from tests.support.desk import Desk
from tests.unit.given import bundle, position, result, stopped

SIDE = [keys.ladder, keys.adds, keys.orders]


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def rests(desk: Desk, name: str = "SL-1", position_id: str = "p1") -> None:
    """S4 has this stop, alive."""
    desk.s4.has[name] = stop(name, "NEW", position_id)


def stop(name: str, status: str, position_id: str = "p1") -> OrderResult:
    return result(client_order_id=name, position_id=position_id, kind="SL", side="SELL", type="STOP_MARKET",
                  status=status, filled_qty="0", avg_price=None, leverage=None)  # fmt: skip


@pytest.mark.parametrize("torn", SIDE, ids=["ladder", "adds", "orders"])
def test_side_hashes_that_are_torn_are_mended(desk: Desk, torn: object) -> None:
    """By the cold start itself: nothing else writes the position here."""
    desk.put(stopped(39_000, ladder='[{"roe":1,"fraction":1}]', add_on_count=2, tp_done=(0,)))
    rests(desk)
    whole = {name("p1"): desk.redis.do_hgetall(name("p1")) for name in SIDE}
    assert all(whole.values())
    desk.redis.do_delete(torn("p1"))  # type: ignore[operator]
    assert desk.cold_start.run() == Report(rebuilt=0, checked=1, asked=1)
    assert {key: desk.redis.do_hgetall(key) for key in whole} == whole


def test_what_is_whole_is_not_written(desk: Desk) -> None:
    before = desk.put(stopped(39_000))
    rests(desk)
    desk.cold_start.run()
    assert desk.now() == before


def test_every_open_position_is_checked_and_evaluated(desk: Desk) -> None:
    for name in ("p1", "p2"):
        desk.put(stopped(39_000, position_id=name))
    desk.s4.has["SL-1"] = stop("SL-1", "CANCELED")
    report = desk.cold_start.run()
    assert (report.checked, report.asked, report.rebuilt) == (2, 2, 0)
    assert set(desk.hints.evaluated) == {"p1", "p2"}
    assert desk.now("p1").orders == ()


def test_what_is_lost_is_rebuilt_verified_and_said(desk: Desk) -> None:
    desk.put(stopped(39_000, op_count=5))
    desk.put(position(position_id="p2", status="CLOSED", qty=D(0)))
    desk.redis.flushall()
    rests(desk)
    report = desk.cold_start.run()
    assert (report.rebuilt, report.checked) == (2, 2)
    assert (desk.now().unverified_from, desk.now().sl_order) == (0, "SL-1")
    [(severity, code, detail, _)] = desk.alerts.raised
    assert (severity, code, detail.split()[0]) == ("WARN", "REBUILT", "2")
    assert desk.cold_start.run().rebuilt == 0
    assert len(desk.alerts.raised) == 1


def test_what_redis_has_in_an_older_state_is_rebuilt_too(desk: Desk) -> None:
    desk.put(stopped(39_000))
    replica = desk.redis.copied()
    desk.put(replace(desk.now(), paused=True))
    desk.redis.fail_over(replica)
    rests(desk)
    assert desk.cold_start.run().rebuilt == 1
    assert desk.now().paused


def test_counters_count_as_whole_only_once_every_share_is_handed_on(desk: Desk) -> None:
    desk.put(stopped(39_000, reserved_margin=D(4_000)))
    desk.redis.flushall()
    rests(desk)

    def held_up(name: str, key: str, writes: bool) -> None:
        if key == keys.budget("FUT") or name == "script _quota":
            raise StateUnavailable("away")

    desk.redis.hook = held_up
    with pytest.raises(StateUnavailable):
        desk.cold_start.run()
    desk.redis.hook = no_hook
    assert desk.state.rebuilt() == ["p1"]
    desk.clock.now += 10_000
    desk.cold_start.run()
    assert desk.state.quota(keys.budget("FUT")) == D(4_000)
    assert desk.state.quota(keys.concurrency("FUT")) == 1
    assert desk.state.rebuilt() == []


def test_without_s4_it_is_not_over(desk: Desk) -> None:
    desk.put(stopped(39_000))
    desk.s4.down = True
    with pytest.raises(NeighbourUnavailable):
        desk.cold_start.run()


def test_two_of_a_hundred_questions_without_an_answer_cost_one_pass_and_those_two(desk: Desk) -> None:
    """However many answers are missing, nobody is asked about twice for it."""
    names = [f"p{number:02}" for number in range(50)]
    for name in names:
        stop_id = f"SL-{name}"
        held = stopped(39_000, position_id=name)
        order = replace(held.orders[0], client_order_id=stop_id)
        desk.put(replace(held, sl_order=stop_id, orders=(order,)))
        rests(desk, stop_id, name)
    missing = {"SL-p03", "SL-p41"}

    def loses(client_order_id: str) -> None:
        if client_order_id in missing:
            missing.remove(client_order_id)
            raise NeighbourUnavailable("s4", "the answer is missing")

    desk.s4.before = loses
    checked: set[str] = set()
    with pytest.raises(NeighbourUnavailable):
        desk.cold_start.run(checked)
    assert len(checked) == 48 and len(desk.s4.asked) == 48
    report = desk.cold_start.run(checked)
    assert sorted(desk.s4.asked[48:]) == ["SL-p03", "SL-p41"]
    assert (report.checked, sorted(checked)) == (2, names)


def test_an_s4_that_is_away_ends_the_pass(desk: Desk) -> None:
    for number in range(30):
        desk.put(stopped(39_000, position_id=f"p{number}"))
    asked: list[str] = []

    def away(client_order_id: str) -> None:
        asked.append(client_order_id)
        raise NeighbourUnavailable("s4", "away")

    desk.s4.before = away
    with pytest.raises(NeighbourUnavailable):
        desk.cold_start.run()
    assert len(asked) == 10
