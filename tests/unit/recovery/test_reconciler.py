"""A position that the store gave back is governed only once S4 has been asked what nobody wrote down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.engine.operation import begin, ids
from s6.engine.order_identity import place_of
from s6.model import jsonx
from s6.model.codec import from_fields, to_fields
from s6.model.market import Features
from s6.model.operation import AHEAD, Operation
from s6.model.position import Order, Position
from s6.model.wire import OrderResult
from s6.plan import Action, build_plan
from s6.ports import NeighbourUnavailable
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, result, stopped, view

COUNT = 5
FIRST = COUNT + 1
LADDER = jsonx.dumps([{"roe": D("0.5"), "fraction": D("0.5")}, {"roe": D(1), "fraction": D("0.5")}])


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def lost(price: int = 39_000, **members: Any) -> Position:
    """What a rebuild makes of a stopped position whose last recorded operation was the fifth."""
    rebuilt = {"op_count": COUNT + AHEAD, "unverified_from": FIRST, "rebuilt_ts": NOW, "ladder": LADDER}
    return stopped(price, **{**rebuilt, **members})


def told(kind: str, number: int, *, life: int = 1, **fields: Any) -> OrderResult:
    """What S4 says of the order that an operation sent."""
    purpose = {"EXIT": "EX", "REDUCE": "RED"}.get(kind, kind)
    intent, name = ids(position(life=life), number, purpose)
    kinds = {"type": "STOP_MARKET" if kind == "SL" else "MARKET", "side": "BUY" if kind == "ADD" else "SELL"}
    filled = {"status": "NEW", "filled_qty": None, "avg_price": None, "leverage": None}
    named = {"client_order_id": name, "intent_id": intent, "kind": kind}
    return result(**{**named, **kinds, **filled, **fields})


def have(desk: Desk, *results: OrderResult) -> None:
    desk.s4.has.update({one.client_order_id: one for one in results})


def gone(name: str, status: str = "CANCELED") -> OrderResult:
    return told("SL", 1, client_order_id=name, intent_id="i", status=status)


# --- nothing is done before ---------------------------------------------------------------------------------------


def test_what_an_older_version_wrote_is_verified() -> None:
    fields = {
        name: text for name, text in to_fields(position()).items() if name not in ("unverified_from", "rebuilt_ts")
    }
    assert from_fields(Position, fields) == position()


@pytest.mark.parametrize(
    "held",
    [
        lost(),
        lost(exit_reason="OPERATOR"),
        lost(39_990, mark=D(39_000)),
        position(unverified_from=FIRST),
        position(unverified_from=FIRST, market="SPOT", sl_price=D(50_000)),
        lost(status="CLOSED", qty=D(0)),
    ],
    ids=["stopped", "leaving", "breached", "naked", "guarded", "closed"],
)
def test_an_unverified_position_gets_no_action(held: Position) -> None:
    assert build_plan(held, view(40_000), bundle(), "NORMAL", NOW).actions == ()
    verified = build_plan(replace(held, unverified_from=0), view(50_000, atr=1), bundle(), "NORMAL", NOW + 10_000)
    assert verified.actions


def test_an_evaluation_says_so_and_does_nothing(desk: Desk) -> None:
    desk.put(replace(lost(), sl_order="", orders=()))
    outcome = desk.governor.evaluate("p1")
    assert (outcome.kind, outcome.unverified, outcome.unconfirmed) == ("NOTHING", True, ())
    assert (desk.hints.driven, desk.s4.sent) == ([], [])
    desk.governor.evaluate_soon("p1")
    assert desk.hints.evaluated == ["p1"]


def test_a_closed_one_stays_where_the_sweep_finds_it(desk: Desk) -> None:
    desk.put(lost(status="CLOSED", qty=D(0)))
    assert desk.governor.evaluate("p1").unverified
    assert desk.state.ids_of("BTCUSDT") == ["p1"]


def test_an_operation_in_flight_is_held(desk: Desk) -> None:
    held, op = begin(lost(), Action("EXIT", "OPERATOR", D(1), step=D("0.001")), NOW - 60_000)
    desk.put(held, op)
    outcome = desk.governor.evaluate("p1")
    assert (outcome.kind, outcome.unverified, desk.hints.driven) == ("IN_FLIGHT", True, [])
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.sent, desk.op(), desk.hints.evaluated) == ([], op, ["p1"])  # the hint verifies it
    desk.reconciler.verify("p1")
    desk.governor.evaluate("p1")
    assert desk.hints.driven == [op.op_id]
    desk.executor.advance("p1", op.op_id)
    assert desk.s4.sent == [op.client_order_id]


def test_the_sweep_sees_to_it(desk: Desk) -> None:
    desk.put(stopped(39_000, unverified_from=FIRST))
    desk.put(stopped(39_900, position_id="p2", bundle_version="b-1"))
    desk.sweep.run()
    assert desk.hints.evaluated == ["p1"]


def test_operators_see_an_empty_plan_and_an_exit_is_remembered(desk: Desk) -> None:
    desk.put(lost())
    for word, hints in (("PLAN", 0), ("EVAL", 1), ("EXIT", 2)):
        shown = desk.commands.execute("p1", "BTCUSDT", "FUT", word, "ann", "test")
        assert shown.as_dict()["plan"]["actions"] == []  # type: ignore[index]
        assert desk.hints.evaluated == ["p1"] * hints
    assert desk.now().exit_reason == "OPERATOR"
    desk.reconciler.verify("p1")
    outcome = desk.governor.evaluate("p1")
    assert outcome.op is not None and outcome.op.kind == "EXIT"


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


def test_before_the_first_accepted_stop_it_is_a_stray_and_goes_first(desk: Desk) -> None:
    desk.put(position(op_count=COUNT + AHEAD, unverified_from=FIRST, sl_failures=2))
    have(desk, told("SL", FIRST))
    desk.reconciler.verify("p1")
    (first, *_) = build_plan(desk.now(), view(40_000), bundle(), "NORMAL", NOW).actions
    assert (first.type, first.target) == ("CLEANUP", told("SL", FIRST).client_order_id)


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


def moving(new: int = 39_500) -> tuple[Position, Operation]:
    """Rebuilt from a snapshot of a stop move that had just begun: the fifth operation."""
    action = Action("STOP_MOVE", "TRAIL", D(1), D(39_000), D(new), target="SL-1", step=D("0.001"))
    held, op = begin(stopped(39_000, op_count=COUNT - 1), action, NOW - 5_000)
    return replace(held, op_count=COUNT + AHEAD, unverified_from=FIRST, rebuilt_ts=NOW + 1), op


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


def test_its_order_is_known_for_what_it_is_when_its_result_comes_first(desk: Desk) -> None:
    held, op = moving()
    desk.put(held, op)
    desk.results.apply(told("SL", COUNT, status="FILLED", filled_qty="1", avg_price="39500"), {})
    (order,) = [o for o in desk.state.own_orders("p1") if o.client_order_id == op.client_order_id]
    assert (order.ours, order.stop_px, desk.now().unverified_from, desk.now().status) == (
        True,
        D(39_500),
        FIRST,
        "CLOSED",
    )


@pytest.mark.parametrize(("status", "price"), [("CANCELED", 39_500), ("REJECTED", 39_000), (None, 39_000)])
def test_an_operation_that_gave_way_to_later_ones_is_over(desk: Desk, status: str | None, price: int) -> None:
    held, op = moving()
    desk.put(held, op)
    have(desk, gone("SL-1"), told("SL", FIRST + 1))
    if status is not None:
        have(desk, told("SL", COUNT, status=status))
    desk.reconciler.verify("p1")
    now = desk.now()
    assert (desk.op(), now.unverified_from, now.sl_price) == (None, 0, D(price))
    assert now.sl_order == told("SL", FIRST + 1).client_order_id


# --- known by their ids -------------------------------------------------------------------------------------------


def test_a_result_of_a_forgotten_order_makes_it_ours_and_the_position_unverified(desk: Desk) -> None:
    desk.put(stopped(39_000, op_count=COUNT, ladder=LADDER))
    late = told("TP", COUNT + 2, status="PARTIALLY_FILLED", qty="0.5", filled_qty="0.3", avg_price="41000")
    desk.results.apply(late, {})
    now = desk.now()
    order = now.order(late.client_order_id)
    assert order is not None and (order.ours, order.rungs, order.intent_id) == (True, (0,), late.intent_id)
    assert (now.unverified_from, now.qty, now.tp_done) == (COUNT + 2, D("0.7"), (0,))
    assert desk.hints.evaluated == ["p1"]
    have(desk, late, told("SL", 1, client_order_id="SL-1", intent_id="i"))
    desk.reconciler.verify("p1")
    assert (desk.now().unverified_from, desk.now().op_count) == (0, COUNT + 2)


def test_orders_of_others_and_those_in_the_books_change_nothing_of_that(desk: Desk) -> None:
    known = told("TP", COUNT, qty="0.5")
    desk.put(stopped(39_000, op_count=COUNT))
    order = Order(known.client_order_id, "i", "TP", "SELL", "MARKET", D("0.5"), "PENDING", NOW, 1, True)
    now = desk.now()
    desk.recorder.write(replace(now, orders=now.with_order(order)), None, NOW, orders=(order,))
    desk.results.apply(known, {})
    close = {"kind": "EXIT", "side": "SELL", "leverage": None, "qty": "0.1", "filled_qty": "0.1"}
    for name in ("m1", "SL-manual", "SL-0123456789abcdef01234567", "TP-" + "z" * 24):
        desk.results.apply(result(client_order_id=name, **close), {})
    assert desk.now().unverified_from == 0
    assert {o.client_order_id for o in desk.state.own_orders("p1") if o.ours} == {"SL-1", known.client_order_id}


def test_ids_are_found_around_what_is_known_only() -> None:
    held = position(op_count=5_000, life=2)
    for number in (3_000, 5_000, 5_400):
        place = place_of(held, told("SL", number, life=2).client_order_id)
        assert place is not None and (place.life, place.number) == (2, number)
    earlier = place_of(held, told("ADD", 4_999, life=1).client_order_id)
    assert earlier is not None and earlier.life == 1
    assert place_of(held, told("SL", 10, life=2).client_order_id) is None
    assert place_of(replace(held, unverified_from=7), told("SL", 10, life=2).client_order_id) is not None


@pytest.mark.parametrize("live", [True, False])
def test_one_that_was_taken_for_somebody_elses_is_claimed_with_what_is_booked_of_it(desk: Desk, live: bool) -> None:
    answer = told(
        "TP", FIRST, status="PARTIALLY_FILLED" if live else "CANCELED", qty="0.5", filled_qty="0.3", avg_price="41000"
    )
    taken = Order(answer.client_order_id, "", "TP", "SELL", "MARKET", D("0.5"), answer.status, NOW, 1, False)  # type: ignore[arg-type]
    taken = replace(taken, filled=D("0.3"), avg_price=D(41_000), fee=D("0.1"))
    held = lost(qty=D("0.7"), tp_done=())
    desk.put(replace(held, orders=(*held.orders, taken)))
    desk.write(replace(desk.now(), orders=desk.now().with_order(taken)))
    have(desk, answer, told("SL", 1, client_order_id="SL-1", intent_id="i"))
    desk.reconciler.verify("p1")
    now = desk.now()
    order = desk.state.seen_order("p1", answer.client_order_id)
    assert order is not None
    assert (order.ours, order.intent_id, order.rungs) == (True, answer.intent_id, (0,))
    assert (order.status, order.filled, order.avg_price, order.fee) == (answer.status, D("0.3"), D(41_000), D("0.1"))
    assert (now.qty, now.tp_done) == (D("0.7"), (0,))
    assert (now.order(answer.client_order_id) is not None) == live
