"""How transfers begin: need, limits, ids, one at a time."""

from __future__ import annotations

from decimal import Decimal

import pytest

from s6.ports import NeighbourUnavailable
from s6.treasury import (
    IdConflict,
    InsufficientFunds,
    Invalid,
    TooLarge,
    TransferInFlight,
    Unavailable,
)
from tests.unit.treasury.world import MOVED, World


def test_a_transfer_by_need_moves_what_the_futures_wallet_lacks() -> None:
    world = World(mode="AUTO")
    answer = world.trigger(None)
    name = str(answer["transfer_id"])
    assert answer == {"transfer_id": name, "status": "APPROVED", "amount": 400, "need": 400, "mode": "AUTO"}
    assert world.hints.asked == [name]
    assert world.treasury().advance(name).kind == "EXECUTED"
    record = world.record(name)
    assert (record["status"], record["tx_id"], record["amount_exact"]) == ("EXECUTED", f"tx-{name}", "400")
    assert world.s1.free == {"SPOT": 9600, "FUT": 500}
    assert world.book.counts == {"executed": 1}


def test_need_is_bounded_by_max_transfer() -> None:
    world = World(max_transfer=150)
    assert {"amount": 150, "need": 400}.items() <= world.trigger().items()


def test_nothing_needed_leaves_no_record() -> None:
    world = World(min_free_fut=100)
    answer = world.trigger()
    assert answer == {"transfer_id": "t-1", "status": "NOT_NEEDED", "amount": 0, "need": 0, "mode": "SEMI"}
    assert world.memory.docs == {}


def test_what_is_asked_for_wins_over_need_and_mode_of_the_bundle() -> None:
    world = World(min_free_fut=0)
    answer = world.trigger(amount=Decimal("12.340"), mode="AUTO")
    assert (answer["amount"], answer["need"], answer["status"]) == (Decimal("12.34"), 0, "APPROVED")
    assert world.record()["amount_exact"] == "12.34"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"src": "BANK"}, "from"),
        ({"dst": "SPOT"}, "to"),
        ({"asset": "BTC"}, "asset"),
        ({"amount": Decimal(0)}, "amount"),
        ({"amount": Decimal("-1")}, "amount"),
        ({"amount": Decimal("NaN")}, "amount"),
        ({"mode": "LATER"}, "mode"),
        ({"src": "FUT", "dst": "SPOT"}, "amount"),
    ],
)
def test_a_request_at_fault_names_the_field(asked: dict[str, object], field: str) -> None:
    world = World()
    with pytest.raises(Invalid) as caught:
        world.trigger(**asked)
    assert (caught.value.status, caught.value.field) == (422, field)
    assert world.memory.docs == {}


def test_an_id_that_no_path_could_hold_is_refused() -> None:
    with pytest.raises(Invalid, match="transfer_id must match"):
        World().trigger("a/b")


def test_above_max_transfer_is_refused_and_at_it_is_not() -> None:
    world = World(max_transfer=50)
    with pytest.raises(TooLarge) as caught:
        world.trigger(amount=Decimal("50.01"))
    assert (caught.value.status, caught.value.field) == (422, "amount")
    assert world.trigger(amount=Decimal(50))["status"] == "PENDING"


def test_the_spot_wallet_keeps_its_buffer() -> None:
    world = World(spot_buffer=9900, mode="AUTO")
    with pytest.raises(InsufficientFunds) as caught:
        world.trigger(amount=Decimal("100.01"))
    assert (caught.value.status, caught.value.code) == (409, "INSUFFICIENT_SPOT")
    assert world.memory.docs == {}
    assert world.trigger(amount=Decimal(100))["status"] == "APPROVED"


def test_a_spot_wallet_in_the_red_is_poor() -> None:
    world = World()
    world.s1.free["SPOT"] = Decimal(-5)
    with pytest.raises(InsufficientFunds):
        world.trigger()


def test_back_from_futures_to_spot() -> None:
    world = World(mode="AUTO")
    back = {"src": "FUT", "dst": "SPOT"}
    with pytest.raises(InsufficientFunds) as caught:
        world.trigger(amount=Decimal("100.5"), **back)
    assert caught.value.code == "INSUFFICIENT_FUT"
    world.trigger(amount=Decimal(100), **back)
    with pytest.raises(TransferInFlight):  # the same pair of wallets, whichever way
        world.trigger("t-2", amount=Decimal(1))
    world.settle()
    assert world.s1.free == {"SPOT": 10_100, "FUT": 0}


def test_the_same_id_again_answers_the_same_at_any_time() -> None:
    world = World(mode="AUTO")
    first = world.trigger()
    assert world.trigger(reason="other words") == first
    world.settle()
    world.bundles.set(max_transfer=1, mode="SEMI")
    assert world.trigger() == first
    assert world.s1.moved == MOVED


@pytest.mark.parametrize(
    "other", [{"amount": Decimal(400)}, {"mode": "SEMI"}, {"src": "FUT", "dst": "SPOT", "amount": Decimal(1)}]
)
def test_the_same_id_for_another_transfer_is_a_conflict(other: dict[str, object]) -> None:
    world = World(mode="AUTO")
    world.trigger()
    with pytest.raises(IdConflict) as caught:
        world.trigger(**other)
    assert (caught.value.status, caught.value.code) == (409, "TRANSFER_ID_CONFLICT")


def test_one_transfer_at_a_time() -> None:
    world = World()
    world.trigger()
    with pytest.raises(TransferInFlight) as caught:
        world.trigger("t-2")
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (409, "TRANSFER_IN_FLIGHT", 30)
    world.treasury().reject("t-1", "ann")
    assert world.trigger("t-2")["status"] == "PENDING"


@pytest.mark.parametrize("finished", [True, False])
def test_a_decision_held_up_past_its_lock_is_void(finished: bool) -> None:
    """While a process stands still between balances and record, another does the whole thing."""
    world = World(mode="AUTO")

    def meanwhile() -> None:
        world.clock.now += 60_000
        world.trigger("t-2")
        if finished:
            world.settle()

    world.s1.during_balances = meanwhile
    with pytest.raises(TransferInFlight):
        world.trigger("t-1")
    world.settle()
    assert world.s1.moved == {"t-2": 400}
    assert list(world.memory.docs) == ["t-2"]


def test_without_s1_nothing_begins() -> None:
    world = World(mode="AUTO")
    world.s1.down = NeighbourUnavailable("s1", "timeout", retry_after_ms=4200)
    with pytest.raises(Unavailable) as caught:
        world.trigger(amount=Decimal(5))
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "S1_UNAVAILABLE", 5)
    assert world.memory.docs == {}


def test_without_a_store_nothing_begins() -> None:
    world = World(mode="AUTO")
    world.faults.plan = dict.fromkeys(range(1, 99), "lost before")
    with pytest.raises(Unavailable) as caught:
        world.trigger()
    assert (caught.value.status, caught.value.code) == (503, "STORE_UNAVAILABLE")
    assert (world.memory.docs, world.s1.requests) == ({}, [])


def test_a_record_whose_answer_is_lost_is_looked_for() -> None:
    world = World(mode="AUTO")
    world.faults.plan = {3: "lost after"}  # 1 looks the id up, 2 asks for balances, 3 inserts
    assert world.trigger()["status"] == "APPROVED"
    world.settle()
    assert world.s1.moved == MOVED


def test_a_record_that_is_not_there_after_a_lost_answer_is_an_error() -> None:
    world = World(mode="AUTO")
    world.faults.plan = {3: "lost before"}
    with pytest.raises(Unavailable):
        world.trigger()
    assert world.memory.docs == {}


def test_without_a_bundle_nothing_begins() -> None:
    world = World()
    world.bundles.bundle = None
    with pytest.raises(Unavailable):
        world.trigger()
    assert world.treasury().check() == "NO_BUNDLE"


def test_times_of_creation_ascend_whatever_the_clock_does() -> None:
    world = World(mode="AUTO", min_free_fut=0)
    for number in range(3):
        world.trigger(f"t-{number}", amount=Decimal(1))
        assert world.treasury().advance(f"t-{number}").kind == "EXECUTED"
        world.clock.now -= 1000
    turns = [(doc["turn"], doc["transfer_id"]) for doc in reversed(world.store.transfers().items)]
    assert turns == [(1, "t-0"), (2, "t-1"), (3, "t-2")]


class TestCheck:
    """The automatic check."""

    def test_it_begins_what_is_needed(self) -> None:
        world = World(mode="AUTO")
        assert world.treasury().check() == "STARTED"
        assert world.treasury().check() == "TRANSFER_IN_FLIGHT"
        world.settle()
        assert list(world.s1.moved.values()) == [400]

    def test_nothing_needed(self) -> None:
        world = World(min_free_fut=100)
        assert world.treasury().check() == "NOT_NEEDED"

    def test_balances_from_before_the_last_transfer_are_not_acted_on(self) -> None:
        """Whatever the cooldown, and whatever has ended since without moving anything."""
        world = World(mode="AUTO", cooldown_s=0, max_transfer=10)
        assert world.treasury().check() == "STARTED"
        world.treasury().sweep()
        [executed] = [int(str(doc["executed_ts"])) for doc in world.memory.docs.values()]
        world.clock.now += 60_000
        world.s1.refuse = "NO"
        world.trigger("t-2", amount=Decimal(1))
        world.treasury().sweep()
        world.s1.refuse = ""
        for ts in (executed - 1, executed):
            world.s1.balances_ts = ts
            assert world.treasury().check() == "BALANCES_OLD"
            with pytest.raises(Unavailable) as caught:
                world.trigger("t-3")
            assert (caught.value.status, caught.value.code) == (503, "BALANCES_OLD")
        world.s1.balances_ts = executed + 1
        assert world.treasury().check() == "STARTED"

    def test_a_clock_set_back_an_hour_holds_up_no_check(self) -> None:
        world = World(mode="AUTO", cooldown_s=0, max_transfer=10)
        assert world.treasury().check() == "STARTED"
        world.treasury().sweep()
        world.clock.now -= 3_600_000
        world.s1.balances_ts = world.clock.now
        assert world.treasury().check() == "STARTED"

    def test_an_amount_needs_no_newer_balances(self) -> None:
        world = World(mode="AUTO", cooldown_s=0)
        world.trigger("t-1")
        world.treasury().sweep()
        world.s1.balances_ts = 1
        assert world.trigger("t-2", amount=Decimal(1))["status"] == "APPROVED"

    def test_the_cooldown_binds_it_and_no_trigger(self) -> None:
        world = World(mode="AUTO", cooldown_s=300)
        world.trigger(amount=Decimal(10))
        world.treasury().sweep()
        assert world.treasury().check() == "COOLING_DOWN"
        world.clock.now += 1000
        world.trigger("t-2", amount=Decimal(10))
        world.treasury().sweep()
        world.clock.now += 299_999
        assert world.treasury().check() == "COOLING_DOWN"
        world.clock.now += 1
        assert world.treasury().check() == "STARTED"

    def test_a_poor_spot_wallet_is_told(self) -> None:
        world = World(spot_buffer=9601)
        assert world.treasury().check() == "INSUFFICIENT_SPOT"
        assert world.book.alerts == [("WARN", "INSUFFICIENT_SPOT")]
        assert world.memory.docs == {}

    def test_s1_down(self) -> None:
        world = World()
        world.s1.down = NeighbourUnavailable("s1", "timeout")
        assert world.treasury().check() == "S1_UNAVAILABLE"
