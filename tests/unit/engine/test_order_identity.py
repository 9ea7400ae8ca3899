"""Orders of ours that nobody wrote down are known by their ids."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from s6.engine.order_identity import slot_of
from s6.engine.recorder import Change
from s6.model.bundle import ActiveBundle
from s6.model.position import Order
from s6.model.wire import OrderResult
from s6.plan.terms import in_force
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, result, stopped
from tests.unit.losses import COUNT, FIRST, LADDER, have, lost, moving, told


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


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


def halving(*roes: str) -> ActiveBundle:
    """A bundle that has half of what is held closed at each of these returns."""
    return bundle(fut={"tp_ladder": [{"roe": roe, "fraction": "0.5"} for roe in roes]})


@pytest.mark.parametrize(
    ("done", "qty", "rungs"),
    [
        ((), "0.5", (0,)),
        ((), "0.75", (0, 1)),
        ((), "0.748", (0, 1)),  # something else has been closed since it was decided
        ((), "0.875", (0, 1, 2)),
        ((0,), "0.5", (1,)),
        ((0,), "0.75", (1, 2)),
        ((0, 1, 2), "0.5", ()),
    ],
)
def test_a_forgotten_take_profit_counts_as_the_rungs_that_its_quantity_fits(
    done: tuple[int, ...], qty: str, rungs: tuple[int, ...]
) -> None:
    rules = halving("0.5", "1", "2")
    desk = Desk(rules)
    desk.put(replace(in_force(stopped(39_000, op_count=COUNT), rules), tp_done=done))
    late = told("TP", COUNT + 2, status="PARTIALLY_FILLED", qty=qty, filled_qty="0.3", avg_price="41000")
    desk.results.apply(late, {})
    order = desk.now().order(late.client_order_id)
    assert order is not None and (order.ours, order.rungs) == (True, rungs)
    assert desk.now().tp_done == tuple(sorted({*done, *rungs}))


def test_a_take_profit_taken_for_somebody_elses_counts_by_what_was_held_before_it() -> None:
    rules = halving("0.5", "1")
    desk = Desk(rules)
    answer = told("TP", FIRST, status="FILLED", qty="0.75", filled_qty="0.75", avg_price="41000")
    taken = Order(answer.client_order_id, "", "TP", "SELL", "MARKET", D("0.75"), "FILLED", NOW, 1, False)
    taken = replace(taken, filled=D("0.75"), avg_price=D(41_000))
    desk.put(in_force(lost(qty=D("0.25"), ladder=""), rules))
    desk.recorder.write(Change(desk.now(), None, NOW, orders=(taken,)))
    have(desk, answer, told("SL", 1, client_order_id="SL-1", intent_id="i"))
    desk.reconciler.verify("p1")
    assert desk.now().tp_done == (0, 1)


def test_orders_of_others_and_those_in_the_books_change_nothing_of_that(desk: Desk) -> None:
    known = told("TP", COUNT, qty="0.5")
    desk.put(stopped(39_000, op_count=COUNT))
    order = Order(known.client_order_id, "i", "TP", "SELL", "MARKET", D("0.5"), "PENDING", NOW, 1, True)
    now = desk.now()
    desk.recorder.write(Change(replace(now, orders=now.with_order(order)), None, NOW, orders=(order,)))
    desk.results.apply(known, {})
    close = {"kind": "EXIT", "side": "SELL", "leverage": None, "qty": "0.1", "filled_qty": "0.1"}
    for name in ("m1", "SL-manual", "SL-0123456789abcdef01234567", "TP-" + "z" * 24):
        desk.results.apply(result(client_order_id=name, **close), {})
    assert desk.now().unverified_from == 0
    assert {o.client_order_id for o in desk.state.own_orders("p1") if o.ours} == {"SL-1", known.client_order_id}


def test_ids_are_found_around_what_is_known_only() -> None:
    held = position(op_count=5_000, life=2)
    for number in (3_000, 5_000, 5_400):
        place = slot_of(held, told("SL", number, life=2).client_order_id)
        assert place is not None and (place.life, place.number) == (2, number)
    earlier = slot_of(held, told("ADD", 4_999, life=1).client_order_id)
    assert earlier is not None and earlier.life == 1
    assert slot_of(held, told("SL", 10, life=2).client_order_id) is None
    assert slot_of(replace(held, unverified_from=7), told("SL", 10, life=2).client_order_id) is not None


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


# --- orders of others ---------------------------------------------------------------------------------------------


def close(filled: str, at: int, **fields: object) -> OrderResult:
    """A close that others sent, and how much of it is filled so far."""
    told_of: dict[str, object] = {"kind": "EXIT", "side": "SELL", "leverage": None, "qty": filled, "filled_qty": filled}
    return result(**{**told_of, "avg_price": at, **fields})


def test_a_close_that_the_exchange_alone_names_closes(desk: Desk) -> None:
    desk.put(stopped(39_000))
    assert desk.results.apply(close("1", 41_000, client_order_id="", order_id="55"), {}) == "APPLIED"
    assert (desk.now().status, desk.now().realized_pnl_usdt) == ("CLOSED", D(1_000))


def test_of_one_client_id_each_order_of_the_exchange_is_another(desk: Desk) -> None:
    desk.put(stopped(39_000))
    for number, (qty, at) in enumerate((("0.5", 41_000), ("0.3", 41_500)), 1):
        forced = close(qty, at, client_order_id="adl_autoclose", order_id=str(number))
        assert [desk.results.apply(forced, {}) for _ in range(2)] == ["APPLIED", "NOTHING_NEW"]
    assert (desk.now().qty, desk.now().realized_pnl_usdt) == (D("0.2"), D(950))


@pytest.mark.parametrize("names", [("web-1", ""), ("", "web-1"), ("web-1", "web-2")])
def test_an_order_of_others_is_known_by_the_exchanges_id_whatever_the_client_id(
    desk: Desk, names: tuple[str, str]
) -> None:
    desk.put(stopped(39_000))
    first, last = names
    part = close("0.4", 41_000, client_order_id=first, order_id="55", qty="0.6", status="PARTIALLY_FILLED")
    whole = close("0.6", 41_000, client_order_id=last, order_id="55")
    assert [desk.results.apply(told, {}) for told in (part, whole, part, whole)] == ["APPLIED"] * 2 + [
        "NOTHING_NEW"
    ] * 2
    assert (desk.now().qty, desk.now().realized_pnl_usdt) == (D("0.4"), D(600))


def test_an_entry_after_the_close_is_another_order_whatever_its_exchange_calls_it(desk: Desk) -> None:
    for number, kind, side in ((1, "ENTRY", "BUY"), (2, "EXIT", "SELL"), (3, "ENTRY", "BUY")):
        told_of = {"kind": kind, "side": side, "client_order_id": f"c{number}", "order_id": "7"}
        assert desk.results.apply(result(**told_of), {}) == "APPLIED"
    assert (desk.now().life, desk.now().is_open) == (2, True)


def test_without_the_exchanges_id_the_client_id_is_what_an_order_is_known_by(desk: Desk) -> None:
    desk.put(stopped(39_000))
    for qty, at in (("0.5", 41_000), ("0.3", 41_500)):
        desk.results.apply(close(qty, at, client_order_id="adl_autoclose"), {})
    assert (desk.now().qty, [a[:2] for a in desk.alerts.raised]) == (D("0.5"), [("ERROR", "RESULT_CONFLICT")])
