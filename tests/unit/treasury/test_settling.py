"""How transfers go on: approvals, lost answers, outages, expiry."""

from __future__ import annotations

from decimal import Decimal

import pytest

from s6.ports import NeighbourUnavailable
from s6.store import StoreError
from s6.treasury import Conflict, NotFound, Outcome, Unavailable
from tests.unit.treasury.world import HOUR_MS, MOVED, World

DOWN = NeighbourUnavailable("s1", "timeout")


def statuses(world: World) -> list[tuple[str, str]]:
    history = world.record()["history"]
    assert isinstance(history, list)
    return [(step["status"], step["by"]) for step in history]


def test_semi_asks_once_and_waits_for_a_decision() -> None:
    world = World()
    assert world.trigger()["status"] == "PENDING"
    assert world.treasury().advance("t-1").kind == "ASKED"
    assert world.treasury().advance("t-1").kind == "WAITING"
    assert world.s12.asked == [("t-1", "SPOT", "FUT", "USDT", Decimal(400), "test")]
    assert world.s1.requests == []
    decided = world.treasury().approve("t-1", "ann", "fine")
    assert (decided["status"], decided["approver"], decided["note"]) == ("APPROVED", "ann", "fine")
    assert world.hints.asked == ["t-1", "t-1"]
    assert world.treasury().advance("t-1").kind == "EXECUTED"
    assert world.treasury().advance("t-1").kind == "DONE"
    assert statuses(world) == [("PENDING", "tester"), ("APPROVED", "ann"), ("EXECUTED", "s1")]


def test_the_same_decision_again_changes_nothing_and_the_contrary_is_a_conflict() -> None:
    world = World()
    world.trigger()
    approved = world.treasury().approve("t-1", "ann")
    assert world.treasury().approve("t-1", "bob", "me too") == approved
    with pytest.raises(Conflict) as caught:
        world.treasury().reject("t-1", "bob")
    assert (caught.value.status, caught.value.code) == (409, "ALREADY_DECIDED")
    world.settle()
    assert world.treasury().approve("t-1", "ann")["status"] == "EXECUTED"
    with pytest.raises(Conflict):
        world.treasury().reject("t-1", "bob")


def test_a_rejected_transfer_is_never_made() -> None:
    world = World()
    world.trigger()
    rejected = world.treasury().reject("t-1", "ann", "no")
    assert rejected["status"] == "REJECTED"
    assert world.treasury().reject("t-1", "ann") == rejected
    with pytest.raises(Conflict):
        world.treasury().approve("t-1", "bob")
    world.settle()
    assert (world.s1.requests, world.book.counts) == ([], {"rejected": 1})


def test_what_is_automatic_is_approved_already() -> None:
    world = World(mode="AUTO")
    world.trigger()
    assert world.treasury().approve("t-1", "ann")["approver"] is None
    with pytest.raises(Conflict):
        world.treasury().reject("t-1", "ann")


def test_decisions_upon_an_unknown_transfer() -> None:
    with pytest.raises(NotFound) as caught:
        World().treasury().approve("t-9", "ann")
    assert caught.value.status == 404
    assert World().treasury().advance("t-9").kind == "UNKNOWN"


def test_a_decision_whose_record_is_lost_may_be_repeated() -> None:
    world = World()
    world.trigger()
    world.faults.plan = {world.faults.calls + 2: "lost after"}
    with pytest.raises(Unavailable):
        world.treasury().approve("t-1", "ann")
    assert world.treasury().approve("t-1", "ann")["status"] == "APPROVED"
    world.settle()
    assert world.s1.moved == MOVED


@pytest.mark.parametrize("late", ["sweep", "approve", "reject"])
def test_without_a_decision_it_expires(late: str) -> None:
    world = World()
    world.trigger()
    world.treasury().sweep()
    world.clock.now += HOUR_MS - 1
    assert world.treasury().advance("t-1").kind == "WAITING"
    world.clock.now += 1
    if late == "sweep":
        assert world.treasury().sweep() == 1
    else:
        with pytest.raises(Conflict) as caught:
            getattr(world.treasury(), late)("t-1", "ann")
        assert caught.value.code == "TRANSFER_EXPIRED"
    record = world.record()
    assert (record["status"], record["reason"], record["request_reason"]) == ("FAILED", "EXPIRED", "test")
    assert (world.book.alerts, world.book.counts) == ([("WARN", "APPROVAL_EXPIRED")], {"expired": 1})
    assert world.s1.requests == []
    assert world.trigger("t-2")["status"] == "PENDING"


def test_s12_down_is_asked_again_until_it_answers() -> None:
    world = World()
    world.trigger()
    world.s12.down = NeighbourUnavailable("s12", "refused")
    for _ in range(6):
        outcome = world.treasury().advance("t-1")
        assert outcome.kind == "LATER"
        assert outcome.delay_ms
        world.clock.now += outcome.delay_ms
    assert world.book.alerts == [("WARN", "APPROVAL_NOT_ASKED")]
    world.s12.down = None
    world.treasury().sweep()
    world.treasury().sweep()
    assert [asked[0] for asked in world.s12.asked] == ["t-1"]
    assert world.record()["asked_ts"] == world.clock.now


def test_a_long_rest_that_s12_wants_is_cut_short_and_an_error_at_once() -> None:
    world = World()
    world.trigger()
    world.s12.down = NeighbourUnavailable("s12", "503", retry_after_ms=86_400_000)
    assert world.treasury().advance("t-1").delay_ms == 60_000
    assert world.book.alerts == [("ERROR", "APPROVAL_NOT_ASKED")]


def test_s12_refusing_is_not_asked_again_and_a_decision_counts_all_the_same() -> None:
    world = World()
    world.trigger()
    world.s12.refuse = "HTTP 422 NO_SUCH_DESK"
    for _ in range(3):
        world.treasury().sweep()
        world.clock.now += 60_000
    assert len(world.s12.asked) == 1
    assert world.book.alerts == [("ERROR", "APPROVAL_NOT_ASKED")]
    world.treasury().approve("t-1", "ann")
    world.settle()
    assert world.s1.moved == MOVED


def test_a_store_that_cannot_keep_the_record_is_told_of_and_moves_no_money() -> None:
    world = World(mode="AUTO")
    world.trigger()
    world.memory.broken = StoreError("no such collection")
    assert world.treasury().advance("t-1") == Outcome("UNAVAILABLE", 2_000)
    assert world.book.alerts == [("ERROR", "TRANSFER_UNSETTLED")]
    with pytest.raises(Unavailable) as caught:
        world.trigger("t-2", amount=Decimal(1))
    assert caught.value.code == "STORE_UNAVAILABLE"
    world.memory.broken = None
    world.settle()
    assert world.s1.moved == MOVED


def test_s1_down_keeps_it_approved_and_sends_the_same_again() -> None:
    world = World(mode="AUTO")
    world.trigger()
    world.s1.down = DOWN
    waited = []
    for _ in range(8):
        outcome = world.treasury().advance("t-1")
        assert (outcome.kind, world.record()["status"]) == ("LATER", "APPROVED")
        assert world.treasury().advance("t-1").kind == "LATER"  # not before its time
        assert outcome.delay_ms is not None
        waited.append(outcome.delay_ms)
        world.clock.now += outcome.delay_ms
    assert world.record()["attempts"] == 8
    assert 0 < max(waited) <= 5000
    assert waited[0] < waited[-1]
    assert set(world.book.alerts) == {("ERROR", "TRANSFER_UNSETTLED")}
    world.s1.down = None
    assert world.treasury().advance("t-1").kind == "EXECUTED"
    assert world.s1.moved == MOVED


@pytest.mark.parametrize(("wanted_ms", "waited_ms"), [(45_000, 45_000), (86_400_000, 60_000)])
def test_s1s_retry_after_is_waited_out_for_a_minute_at_most(wanted_ms: int, waited_ms: int) -> None:
    world = World(mode="AUTO")
    world.trigger()
    world.s1.down = NeighbourUnavailable("s1", "429", retry_after_ms=wanted_ms)
    assert world.treasury().advance("t-1").delay_ms == waited_ms
    assert world.book.alerts == ([("ERROR", "TRANSFER_UNSETTLED")] if wanted_ms > 60_000 else [])
    world.s1.down = None
    world.clock.now += waited_ms - 1
    world.treasury().sweep()
    assert world.s1.requests == []
    world.clock.now += 1
    world.treasury().sweep()
    assert world.s1.moved == MOVED


def test_an_answer_lost_is_asked_for_again_under_the_same_id() -> None:
    world = World(mode="AUTO")
    world.trigger()
    world.s1.during_balances = None
    world.faults.plan = {world.faults.calls + 4: "lost after"}
    assert world.treasury().advance("t-1").kind == "LATER"
    assert (world.s1.moved, world.record()["status"]) == (MOVED, "APPROVED")
    world.bundles.set(max_transfer=1, mode="SEMI")
    world.s1.free["FUT"] = Decimal(50)
    world.settle()
    assert world.s1.requests == [("t-1", "SPOT", "FUT", "USDT", Decimal(400))] * 2
    assert world.s1.moved == MOVED
    assert world.record()["status"] == "EXECUTED"


def test_s1s_refusal_ends_it() -> None:
    world = World(mode="AUTO")
    world.s1.refuse = "INSUFFICIENT_FUNDS"
    world.trigger()
    assert world.treasury().advance("t-1").kind == "FAILED"
    record = world.record()
    assert (record["status"], record["reason"], record["tx_id"]) == ("FAILED", "INSUFFICIENT_FUNDS", None)
    assert (world.book.alerts, world.book.counts) == ([("ERROR", "TRANSFER_FAILED")], {"failed": 1})
    world.s1.refuse = ""
    world.settle()
    assert world.s1.moved == {}


def test_the_store_down_after_the_money_moved() -> None:
    world = World(mode="AUTO")
    world.trigger()
    world.faults.plan = {world.faults.calls + 5: "lost before"}
    assert world.treasury().advance("t-1").kind == "UNAVAILABLE"
    assert (world.s1.moved, world.record()["status"]) == (MOVED, "APPROVED")
    world.settle()
    assert (world.s1.moved, world.record()["status"]) == (MOVED, "EXECUTED")


def test_a_step_waits_while_somebody_decides_for_the_pair() -> None:
    world = World(mode="AUTO")
    world.trigger()
    token = world.locks.lock("lock:treasury:SPOT:FUT", 15_000)
    assert world.treasury().advance("t-1").kind == "BUSY"
    assert world.s1.requests == []
    assert token is not None
    world.locks.unlock("lock:treasury:SPOT:FUT", token)
    assert world.treasury().advance("t-1").kind == "EXECUTED"


def test_a_clock_set_back_an_hour_holds_up_no_transfer() -> None:
    world = World(mode="AUTO", cooldown_s=300)
    world.trigger()
    world.s1.down = NeighbourUnavailable("s1", "timeout")
    assert world.treasury().advance("t-1").kind == "LATER"
    world.s1.down = None
    world.clock.now -= HOUR_MS
    assert world.treasury().advance("t-1").kind == "EXECUTED"
