"""Many results in few trips: each is booked once and in its order, whatever cannot be booked with the rest."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from redis.exceptions import ConnectionError

from s6 import keys
from s6.engine.results import Contended
from s6.engine.results_batch import Told
from s6.model.position import Order
from s6.model.wire import MalformedMessage, OrderResult, SideConflict
from s6.ports import NeighbourUnavailable, StateUnavailable
from tests.doubles.memory_redis import no_hook
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, result, stopped


@pytest.fixture(params=[False, True], ids=["one server", "cluster"])
def desk(request: pytest.FixtureRequest) -> Desk:
    desk = Desk(bundle())
    desk.state._is_cluster = request.param
    desk.redis.do_set(keys.RECONCILED, "1")
    return desk


def told(*results: OrderResult) -> list[Told]:
    return [Told(each, {"symbol": each.symbol, "position_id": each.position_id}) for each in results]


def entry(name: str, **members: Any) -> OrderResult:
    return result(position_id=name, client_order_id=f"e-{name}", **members)


def fill(name: str, of: str, filled: str, status: str = "PARTIALLY_FILLED") -> OrderResult:
    """A close by hand, filled so far."""
    return result(position_id=name, client_order_id=of, kind="EXIT", side="SELL", qty="0.9", filled_qty=filled,
                  status=status, leverage=None)  # fmt: skip


def history(desk: Desk, name: str) -> list[int]:
    desk.relay.run()
    return sorted(desk.store.history.get(name, {}))


def test_positions_are_born_side_by_side_and_protected_in_one_batch(desk: Desk) -> None:
    names = [f"p{n}" for n in range(20)]
    assert desk.batch.apply(told(*map(entry, names))) == ["APPLIED"] * 20
    assert {desk.now(name).qty for name in names} == {D(1)}
    assert (desk.hints.protected, desk.hints.evaluated) == (names, names)
    assert desk.batch.apply(told(*map(entry, names))) == ["NOTHING_NEW"] * 20
    assert {desk.now(name).seq for name in names} == {1}


def test_a_batch_takes_as_many_trips_for_twenty_as_for_two() -> None:
    def reads(count: int) -> int:
        desk = Desk(bundle())
        desk.redis.do_set(keys.RECONCILED, "1")
        desk.state.market = None  # type: ignore[assignment, method-assign] # what is read one by one
        desk.state.load = None  # type: ignore[assignment, method-assign]
        seen: list[str] = []
        desk.redis.hook = lambda name, key, writes: None if writes else seen.append(name)
        desk.batch.apply(told(*(entry(f"p{n}") for n in range(count))))
        return len(seen) - count  # each position is read once

    assert reads(20) == reads(2)


def test_results_of_one_position_are_booked_in_their_order(desk: Desk) -> None:
    steps = [entry("p1"), fill("p1", "m1", "0.2"), fill("p1", "m2", "0.1"), fill("p1", "m1", "0.3", "CANCELED")]
    assert desk.batch.apply(told(steps[0], entry("p2"), *steps[1:])) == ["APPLIED"] * 5
    assert desk.now().qty == D("0.6") and [o.client_order_id for o in desk.now().orders] == ["m2"]
    assert history(desk, "p1") == [1, 2, 3, 4]
    assert desk.batch.apply(told(*steps)) == ["NOTHING_NEW"] * 4
    assert desk.now().qty == D("0.6")


def test_where_somebody_else_writes_first_that_position_alone_is_done_anew(desk: Desk) -> None:
    desk.put(stopped(39_000, position_id="p1"))
    desk.put(stopped(39_000, position_id="p2"))
    loads: list[str] = []

    def interrupts(name: str, key: str, writes: bool) -> None:
        if name in ("evalsha", "script _commit"):
            desk.redis.hook = lambda name, key, writes: loads.append(key) if name == "hgetall" else None
            desk.write(replace(desk.now("p1"), paused=True))
            loads.clear()

    desk.redis.hook = interrupts
    outcomes = desk.batch.apply(told(fill("p1", "m1", "0.2"), fill("p2", "m1", "0.1"), fill("p1", "m1", "0.3")))
    desk.redis.hook = no_hook
    assert outcomes == ["APPLIED"] * 3
    assert (desk.now("p1").qty, desk.now("p1").paused, desk.now("p2").qty) == (D("0.7"), True, D("0.9"))
    assert keys.state("p2") not in loads and keys.state("p1") in loads
    assert history(desk, "p1") == [1, 2, 3]


def test_what_contradicts_its_position_holds_up_nothing(desk: Desk) -> None:
    against = entry("p1", side="SELL", order_id="9")
    first, odd, later, other = desk.batch.apply(
        told(entry("p1"), replace_id(against, "e-9"), fill("p1", "m1", "0.2"), entry("p2"))
    )
    assert (first, later, other) == ("APPLIED", "APPLIED", "APPLIED")
    assert isinstance(odd, SideConflict) and isinstance(odd, MalformedMessage)
    assert desk.now().qty == D("0.8")


def replace_id(told: OrderResult, name: str) -> OrderResult:
    return told.model_copy(update={"client_order_id": name})


def test_what_waited_for_an_entry_is_booked_before_what_came_later(desk: Desk) -> None:
    early = fill("p1", "m1", "0.2")
    fields = {name: str(value) for name, value in early.model_dump(exclude_none=True).items() if value != ()}
    assert desk.batch.apply([Told(early, fields)]) == ["PARKED"]
    assert desk.batch.apply(told(entry("p1"), fill("p1", "m1", "0.3"))) == ["APPLIED", "APPLIED"]
    assert desk.now().qty == D("0.7") and desk.state.parked("p1") == []
    assert history(desk, "p1") == [1, 2, 3]


def test_a_position_that_may_be_lost_is_brought_back_first(desk: Desk) -> None:
    desk.put(stopped(39_000, seq=0))
    for key in [key for key in desk.redis.data if "{p1}" in key]:
        desk.redis.do_delete(key)
    assert desk.batch.apply(told(fill("p1", "m1", "0.2"), entry("p2"))) == ["APPLIED", "APPLIED"]
    assert (desk.now("p1").qty, desk.now("p1").rebuilt_ts) == (D("0.8"), NOW)


def test_a_close_before_which_an_add_may_have_filled_asks_s4(desk: Desk) -> None:
    add = Order("ADD-1", "i", "ADD", "BUY", "MARKET", D("0.5"), "NEW", NOW, 1, True)
    held = stopped(39_000)
    desk.put(replace(held, orders=(*held.orders, add)))
    desk.results._orders = desk.s4
    desk.s4.down = True
    away, untried, other = desk.batch.apply(
        told(fill("p1", "m1", "1", "FILLED").model_copy(update={"qty": D(1)}), fill("p1", "m2", "0.1"), entry("p2"))
    )
    assert isinstance(away, NeighbourUnavailable) and isinstance(untried, Contended) and other == "APPLIED"
    assert desk.now().is_open and desk.now("p2").qty == 1


def test_a_defect_shows_on_its_own_result_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    booked = desk.results.booked

    def fails(loaded: Any, told: OrderResult, *rest: Any) -> Any:
        if told.client_order_id == "m1":
            raise ZeroDivisionError("a mistake")
        return booked(loaded, told, *rest)

    monkeypatch.setattr(desk.results, "booked", fails)
    desk.put(stopped(39_000))
    bad, untried, other = desk.batch.apply(told(fill("p1", "m1", "0.2"), fill("p1", "m2", "0.1"), entry("p2")))
    assert isinstance(bad, ZeroDivisionError) and isinstance(untried, Contended) and other == "APPLIED"


def test_redis_away_is_said_and_the_batch_may_come_again(desk: Desk) -> None:
    """Between any two trips: what was written says nothing new, and is woken then."""
    steps = told(entry("p1"), entry("p2"), fill("p1", "m1", "0.2"), entry("p3"))
    trips = 0
    while True:
        left = trips

        def dies(name: str, key: str, writes: bool) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                desk.redis.hook = no_hook
                raise ConnectionError("away")

        desk.redis.hook = dies
        try:
            desk.batch.apply(steps)
            break
        except StateUnavailable:
            trips += 1
    desk.redis.hook = no_hook
    assert trips > 6
    assert [desk.now(name).qty for name in ("p1", "p2", "p3")] == [D("0.8"), D(1), D(1)]
    assert history(desk, "p1") == [1, 2] and history(desk, "p3") == [1]
    assert {"p1", "p2", "p3"} <= set(desk.hints.evaluated)


def test_what_another_listener_parks_while_the_batch_is_under_way_is_booked(desk: Desk) -> None:
    close = fill("p1", "manual-1", "0.3")
    raw = {name: str(value) for name, value in close.model_dump(exclude_none=True).items()}
    parked: list[str] = []

    def parks(name: str, key: str, writes: bool) -> None:
        if writes:  # the batch has read all that it reads
            desk.redis.hook = no_hook
            parked.append(desk.results.apply(close, raw))

    desk.redis.hook = parks
    assert desk.batch.apply(told(entry("p1"))) == ["APPLIED"]
    assert parked == ["PARKED"]
    assert (desk.now().qty, desk.state.parked("p1")) == (D("0.7"), [])
