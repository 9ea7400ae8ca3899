"""A position that the store gave back is governed only once S4 has been asked what nobody wrote down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.engine.operation import begin, order_of
from s6.model.market import Features
from s6.model.operation import AHEAD
from s6.model.position import Position
from s6.plan import Action, build_plan
from s6.ports import NeighbourUnavailable
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, result, stopped, view
from tests.unit.losses import COUNT, FIRST, gone, have, lost, moving, told


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


# --- asking -------------------------------------------------------------------------------------------------------


def test_a_stop_that_nobody_remembers_is_the_positions_stop(desk: Desk) -> None:
    desk.put(lost())
    have(desk, gone("SL-1"), told("SL", FIRST, status="CANCELED"), told("SL", FIRST + 2))
    newest = told("SL", FIRST + 2).client_order_id
    assert desk.reconciler.verify("p1") > 5
    now = desk.now()
    assert (now.unverified_from, now.sl_order, now.sl_qty, now.sl_price) == (0, newest, D(1), D(39_000))
    assert [o.client_order_id for o in now.orders if o.live and o.ours] == [newest]
    move = desk.governor.evaluate("p1").op
    assert move is not None and (move.kind, move.target) == ("STOP_MOVE", newest)  # one stop at a time


def test_before_the_first_accepted_stop_it_is_a_stray_that_gives_way_to_it(desk: Desk) -> None:
    desk.put(position(op_count=COUNT + AHEAD, unverified_from=FIRST, sl_failures=2))
    have(desk, told("SL", FIRST))
    desk.reconciler.verify("p1")
    (first, *_) = build_plan(desk.now(), view(40_000), bundle(), "NORMAL", NOW).actions
    assert (first.type, first.target) == ("STOP_MOVE", told("SL", FIRST).client_order_id)


def test_where_two_histories_parted_orders_of_the_lost_one_are_found(desk: Desk) -> None:
    held = stopped(39_000)
    desk.put(replace(held, op_count=FIRST + 1))
    have(desk, told("SL", FIRST))
    desk.reconciler.doubt("p1", FIRST + 1)
    assert desk.now().unverified_from == FIRST + 1
    desk.reconciler.doubt("p1", FIRST)
    desk.reconciler.doubt("p1", FIRST + 1)
    assert desk.now().unverified_from == FIRST
    desk.reconciler.verify("p1")
    assert told("SL", FIRST).client_order_id in [o.client_order_id for o in desk.now().orders if o.ours and o.live]


def test_fills_are_booked_for_what_they_were(desk: Desk) -> None:
    desk.state.put_features("BTCUSDT", Features(ts=NOW, signal="LONG", signal_id="s7", signal_ts=NOW))
    desk.put(lost())
    part: dict[str, Any] = {"status": "FILLED", "qty": "0.2", "filled_qty": "0.2", "avg_price": "41000"}
    have(desk, told("SL", 1, client_order_id="SL-1", intent_id="i"))
    have(desk, told("TP", FIRST, **part), told("ADD", FIRST + 1, **part), told("REDUCE", FIRST + 3, **part))
    desk.reconciler.verify("p1")
    now = desk.now()
    assert (now.qty, now.added_qty, now.add_on_count) == (D("0.8"), D("0.2"), 1)
    assert (now.tp_done, now.used_signals, now.reduces) == ((0,), ("s7",), 1)
    assert now.sl_order == "SL-1"
    before = desk.redis.copied()
    desk.write(replace(now, unverified_from=FIRST))  # asked once more, all is known
    desk.reconciler.verify("p1")
    assert replace(desk.now(), rev=0, seq=0) == replace(now, rev=0, seq=0)
    assert desk.redis.copied()[0]["pos:orders:{p1}"] == before[0]["pos:orders:{p1}"]


def test_it_stops_asking_where_s4_knows_no_more(desk: Desk) -> None:
    desk.put(position(unverified_from=FIRST, op_count=COUNT + AHEAD))
    have(desk, told("SL", FIRST + 2, status="CANCELED"), told("SL", FIRST + 6))
    assert desk.reconciler.verify("p1") == 5 * 6
    assert desk.now().orders == ()
    desk.put(position(position_id="p2", market="SPOT", unverified_from=FIRST, op_count=COUNT + AHEAD))
    assert desk.reconciler.verify("p2") == 2 * 8


def test_a_position_lost_twice_is_looked_for_in_both_places(desk: Desk) -> None:
    desk.put(position(unverified_from=FIRST, op_count=COUNT + 2 * AHEAD))
    second = told("SL", FIRST + AHEAD)
    have(desk, second)
    desk.reconciler.verify("p1")
    assert [o.client_order_id for o in desk.now().orders] == [second.client_order_id]


def test_numbers_that_s4_knows_are_not_given_again(desk: Desk) -> None:
    desk.put(stopped(39_000, unverified_from=FIRST, op_count=COUNT))
    have(desk, told("SL", 1, client_order_id="SL-1", intent_id="i"), told("TP", FIRST + 1, status="CANCELED"))
    desk.reconciler.verify("p1")
    assert desk.now().op_count == FIRST + 1


def test_a_life_that_began_meanwhile_does_not_hide_what_the_last_one_left(desk: Desk) -> None:
    desk.put(lost(status="CLOSED", qty=D(0), orders=(), sl_order=""))
    desk.results.apply(result(client_order_id="e2"), {})
    assert (desk.now().life, desk.now().unverified_from) == (2, FIRST)
    left, new = told("SL", FIRST), told("SL", FIRST + 1, life=2)
    have(desk, left, new)
    desk.reconciler.verify("p1")
    assert {o.client_order_id: o.life for o in desk.now().orders} == {left.client_order_id: 1, new.client_order_id: 2}


def test_orders_in_the_books_are_asked_about_before_it_is_released(desk: Desk) -> None:
    desk.put(lost())
    have(desk, gone("SL-1"))
    seen: list[int] = []
    desk.s4.before = lambda name: seen.append(desk.now().unverified_from)
    desk.reconciler.verify("p1")
    assert desk.s4.asked[-1] == "SL-1" and set(seen) == {FIRST}
    assert (desk.now().unverified_from, desk.now().sl_order) == (0, "")


def test_while_s4_is_away_it_stays_unverified(desk: Desk) -> None:
    desk.put(lost())
    have(desk, told("SL", FIRST))
    desk.s4.down = True
    with pytest.raises(NeighbourUnavailable):
        desk.reconciler.verify("p1")
    assert desk.now().unverified_from == FIRST
    desk.s4.down = False
    desk.reconciler.verify("p1")
    assert desk.now().unverified_from == 0


def test_an_s4_that_fails_now_and_then_is_not_asked_all_over_again(desk: Desk) -> None:
    desk.put(lost(orders=(), sl_order=""))
    have(desk, told("SL", FIRST + 1))

    def fails(name: str) -> None:
        if len(desk.s4.asked) % 3 == 2:
            desk.s4.asked.append("")
            raise NeighbourUnavailable("s4", "HTTP 503")

    desk.s4.before = fails
    tries = 0
    while desk.now().unverified_from:
        tries += 1
        with suppress(NeighbourUnavailable):
            desk.reconciler.verify("p1")
    answered = [name for name in desk.s4.asked if name]
    stop = told("SL", FIRST + 1).client_order_id
    assert (
        tries > 3 and len(answered) == len(set(answered)) + 1 and answered[-1] == stop
    )  # at last, as it is in the books


def test_what_waited_for_it_is_applied_then(desk: Desk) -> None:
    desk.put(lost())
    have(desk, told("SL", 1, client_order_id="SL-1", intent_id="i"))
    close = {
        "client_order_id": "m1",
        "kind": "EXIT",
        "side": "SELL",
        "leverage": None,
        "qty": "0.4",
        "filled_qty": "0.4",
    }
    waiting = {name: str(value) for name, value in result(**close).model_dump().items() if value is not None}
    desk.state.park("p1", waiting, NOW + 60_000)
    desk.reconciler.verify("p1")
    assert (desk.now().qty, desk.state.parked("p1")) == (D("0.6"), [])


def test_two_at_once_and_one_killed_anywhere_do_no_harm() -> None:
    """Whoever dies between two commands, and whoever comes in between: the books end up the same."""
    part: dict[str, Any] = {"status": "FILLED", "qty": "0.2", "filled_qty": "0.2", "avg_price": "41000"}

    def made() -> Desk:
        desk = Desk(bundle())
        desk.put(lost())
        have(desk, gone("SL-1"), told("TP", FIRST, **part), told("SL", FIRST + 1))
        return desk

    whole = made()
    whole.reconciler.verify("p1")
    for last in range(200):
        desk = made()
        desk.redis.hook = _dies_after(last)
        try:
            desk.reconciler.verify("p1")
            break
        except _Killed:
            desk.redis.hook = lambda name, key, writes: None
        desk.reconciler.verify("p1")
        assert _books(desk.now()) == _books(whole.now()), last
    else:
        pytest.fail("it never came to its end")
    assert last > 20

    for second in range(0, 30, 3):
        desk = made()
        _also_after(desk, second, lambda desk=desk: desk.reconciler.verify("p1"))  # type: ignore[misc]
        desk.reconciler.verify("p1")
        assert _books(desk.now()) == _books(whole.now()), second


def test_who_has_asked_for_a_former_loss_does_not_release_it(desk: Desk) -> None:
    desk.put(lost())
    again = replace(lost(), rebuilt_ts=NOW + 9, rev=5_000)
    have(desk, told("SL", 1, client_order_id="SL-1", intent_id="i"))

    def lost_again() -> None:
        desk.redis.flushall()
        desk.put(replace(again, rev=0))
        desk.redis.flushall()
        desk.put(replace(again, rev=0))
        have(desk, told("SL", FIRST + 1))

    _also_after(desk, 12, lost_again)
    desk.reconciler.verify("p1")
    assert desk.now().unverified_from == 0
    assert told("SL", FIRST + 1).client_order_id in {o.client_order_id for o in desk.now().orders}


class _Killed(BaseException):
    pass


def _dies_after(calls: int) -> Callable[[str, str, bool], None]:
    left = [calls]

    def hook(name: str, key: str, writes: bool) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _Killed

    return hook


def _also_after(desk: Desk, queries: int, act: Callable[[], object]) -> None:
    """Something else happens before that query is answered."""
    left = [queries]

    def interrupt(name: str) -> None:
        left[0] -= 1
        if left[0] == -1:
            act()

    desk.s4.before = interrupt


def _books(p: Position) -> tuple[object, ...]:
    return (
        p.unverified_from,
        p.qty,
        p.tp_done,
        p.realized_pnl_usdt,
        p.sl_order,
        p.op_count,
        {o.client_order_id for o in p.orders},
    )


# --- the operation in flight --------------------------------------------------------------------------------------


def test_an_operation_of_which_s4_knows_nothing_goes_on(desk: Desk) -> None:
    held, op = moving()
    desk.put(held, op)
    have(desk, told("SL", 1, client_order_id="SL-1", intent_id="i"))
    desk.reconciler.verify("p1")
    assert (desk.now().unverified_from, desk.op()) == (0, op)


def test_an_operation_whose_order_s4_has_is_at_its_last_step(desk: Desk) -> None:
    held, op = moving()
    desk.put(held, op)
    have(desk, gone("SL-1"), told("SL", COUNT))
    assert op.client_order_id == told("SL", COUNT).client_order_id
    desk.reconciler.verify("p1")
    at = desk.op()
    assert at is not None and (at.stage, at.order is not None) == ("PLACE", True)
    desk.executor.advance("p1", op.op_id)
    now = desk.now()
    assert (desk.s4.sent, now.sl_order, now.sl_price) == ([], op.client_order_id, D(39_500))


@pytest.mark.parametrize(("status", "price"), [("CANCELED", 39_500), ("REJECTED", 39_000), (None, 39_000)])
def test_an_operation_that_gave_way_to_later_ones_is_over(desk: Desk, status: str | None, price: int) -> None:
    held, op = moving()
    desk.put(held, op)
    have(desk, gone("SL-1"), told("SL", FIRST + 1))
    if status is not None:
        have(desk, told("SL", COUNT, status=status))
    published: list[str] = []
    desk.redis.appended = lambda stream, fields: published.append(fields["event_id"])
    desk.reconciler.verify("p1")
    now = desk.now()
    assert (desk.op(), now.unverified_from, now.sl_price) == (None, 0, D(price))
    assert now.sl_order == told("SL", FIRST + 1).client_order_id
    assert published == ([f"p1.1.STOP_MOVE.{op.client_order_id}"] if status == "CANCELED" else [])


@pytest.mark.parametrize(("known", "stop"), [(("SL-1",), "SL-1"), (("TP-1",), ""), ((), "")])
def test_an_order_that_s4_does_not_know_rests_nowhere(desk: Desk, known: tuple[str, ...], stop: str) -> None:
    held = stopped(39_000)
    take = replace(held.orders[0], client_order_id="TP-1", kind="TP", type="MARKET")
    desk.put(replace(held, orders=(*held.orders, take)))
    have(desk, *(told("SL" if name == "SL-1" else "TP", 1, client_order_id=name, intent_id="i") for name in known))
    assert desk.reconciler.reconcile_position("p1") == 2
    now = desk.now()
    assert tuple(o.client_order_id for o in now.orders) == known
    assert (now.sl_order, now.sl_qty) == (stop, D(1) if stop else D(0))


def test_the_order_of_the_operation_in_flight_is_the_operations(desk: Desk) -> None:
    held, op = begin(stopped(39_000), Action("EXIT", "OPERATOR", D(1), step=D("0.001")), NOW)
    order = order_of(held, op, NOW)
    assert order is not None
    desk.put(replace(held, orders=held.with_order(order)), replace(op, order=order))
    assert desk.reconciler.reconcile_position("p1") == 1
    assert desk.s4.asked == ["SL-1"]
