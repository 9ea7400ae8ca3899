"""What S4's words mean for an operation: refusals that repeat, orders that end in vain."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from s6.booking import SymbolTerms, book
from s6.engine import transitions as to
from s6.engine.operation import begin
from s6.engine.transitions import after_result
from s6.model.bundle import Retry
from s6.model.operation import Operation
from s6.model.position import Order
from s6.plan import Action
from tests.unit.given import NOW, position, result, stopped

RETRY = Retry()


def a_move(**members: object) -> Operation:
    stop = Order("SL-2", "i2", "SL", "SELL", "STOP_MARKET", D(1), "PENDING", NOW, 1, True, stop_px=D(39500))
    op = Operation(
        "1-2", "p1", "STOP_MOVE", "PLACE", "TRAIL", NOW, "i2", "SL-2", "SL-1", D(39000), D(39500), order=stop
    )
    return replace(op, **members)  # type: ignore[arg-type]


def an_order(kind: str) -> Order:
    return Order("o1", "i1", kind, "SELL", "MARKET", D(1), "EXPIRED", NOW, 1, True)  # type: ignore[arg-type]


def test_a_refused_price_is_not_tried_again_in_the_same_breath() -> None:
    p = stopped(39000, sl_order="", orders=())
    first = to.refused(p, a_move(), "PRICE_FILTER", RETRY, NOW)
    assert first.op is not None
    assert (first.op.new_price, first.op.client_order_id != "SL-2") == (D(39000), True)
    old_again = replace(a_move().order, client_order_id=first.op.client_order_id, stop_px=D(39000))  # type: ignore[type-var]
    done = to.accepted(first.position, first.op, old_again, RETRY, NOW)  # type: ignore[arg-type]
    assert (done.op, done.outcome, done.position.sl_price) == (None, "reverted", D(39000))
    assert (done.position.trail_refusals, done.position.trail_not_before) == (1, NOW + 100)


def test_a_move_that_is_made_forgets_former_failures() -> None:
    op = a_move()
    assert op.order is not None
    done = to.accepted(stopped(39000, sl_failures=2), op, op.order, RETRY, NOW)
    assert (done.outcome, done.position.sl_failures, done.position.sl_not_before) == ("success", 0, 0)


@pytest.mark.parametrize(
    ("kind", "held_off"), [("TP", "hold_until"), ("REDUCE", "hold_until"), ("EXIT", "exit_not_before")]
)
def test_a_market_order_that_ended_in_vain_is_not_repeated_in_the_same_breath(kind: str, held_off: str) -> None:
    told = result(kind=kind, side="SELL", client_order_id="o1", status="EXPIRED", filled_qty="0", avg_price=None,
                  reason="MAKER_TIMEOUT")  # fmt: skip
    step = after_result(position(), None, an_order(kind), told, RETRY, NOW)
    assert getattr(step.position, held_off) == NOW + 100
    assert [sample.name for sample in step.samples] == ["s6_maker_wait_timeout_total"]


def test_what_filled_after_waiting_as_maker_in_vain_counts_too() -> None:
    filled = replace(an_order("TP"), status="FILLED", filled=D(1))
    told = result(kind="TP", side="SELL", client_order_id="o1", reason="MAKER_TIMEOUT")
    step = after_result(position(), None, filled, told, RETRY, NOW)
    assert step.position.hold_until == 0
    assert [sample.name for sample in step.samples] == ["s6_maker_wait_timeout_total"]


def test_a_refusal_by_422_and_one_by_the_stream_are_two() -> None:
    p = stopped(39000, sl_order="", orders=())
    first = to.refused(p, a_move(), "PRICE_FILTER", RETRY, NOW)
    assert first.op is not None
    again = Order("SL-3", "i3", "SL", "SELL", "STOP_MARKET", D(1), "PENDING", NOW, 1, True, stop_px=D(39000))
    held = to.accepted(first.position, first.op, again, RETRY, NOW).position
    assert (held.sl_refusals, held.sl_order) == (1, "SL-3")
    told = result(kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-3", status="REJECTED",
                  filled_qty="0", avg_price=None, reason="PRICE_FILTER")  # fmt: skip
    step = after_result(
        replace(held, sl_order="", orders=()), None, replace(again, status="REJECTED"), told, RETRY, NOW
    )
    assert step.position.exit_reason == "STOP_REFUSED"
    assert [(severity, code) for severity, code, _ in step.alerts] == [("FATAL", "STOP_MOVE_FAILED")]


def test_a_stop_that_may_have_been_sent_is_seen_through_when_its_position_closes() -> None:
    op = a_move()
    assert op.order is not None
    flat = stopped(39000, status="CLOSED", qty=D(0), sl_order="", orders=(op.order,))
    assert to.position_closed(flat, op, op.order, NOW).op == op
    told = to.position_closed(flat, op, replace(op.order, status="NEW"), NOW)
    assert (told.op, [e["type"] for e in told.events]) == (None, ["STOP_MOVE"])
    assert to.position_closed(flat, a_move(order=None), None, NOW).op is None
    unverified = replace(flat, unverified_from=2, orders=())  # the record of its order may be lost
    assert to.position_closed(unverified, a_move(order=None), None, NOW).op == a_move(order=None)


def test_a_stop_of_a_life_that_is_over_changes_nothing_of_the_next() -> None:
    op = a_move()
    assert op.order is not None
    reborn = stopped(42000, life=2)
    taken = to.accepted_after_close(reborn, op, op.order, NOW)
    assert (taken.op, [e["type"] for e in taken.events]) == (None, ["STOP_MOVE"])
    assert (taken.position.sl_price, taken.position.sl_order) == (D(42000), "SL-1")
    assert [o.client_order_id for o in taken.position.orders if o.status == "NEW"] == ["SL-1", "SL-2"]
    refused = to.refused(reborn, op, "PRICE_FILTER", RETRY, NOW)
    assert (refused.op, refused.position.sl_order) == (None, "SL-1")


def test_a_refusal_is_over_once_a_stop_rests() -> None:
    p = stopped(39000, sl_refusals=1)
    new = result(kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-1", status="NEW", filled_qty="0",
                 avg_price=None)  # fmt: skip
    heard = book(p, p.live_stop, new, mark=None, terms=SymbolTerms(), now=NOW)
    assert heard is not None
    assert after_result(heard.position, None, heard.order, new, RETRY, NOW).position.sl_refusals == 0
    assert book(replace(p, sl_refusals=0), p.live_stop, new, mark=None, terms=SymbolTerms(), now=NOW) is None
    assert begin(p, Action("STOP_MOVE", "LOCK", D(1), D(39000), D(39500), target="SL-1"), NOW)[1].refusals == 0


def test_once_the_old_stop_is_gone_the_new_one_is_placed_without_delay() -> None:
    op = a_move(stage="CHECK", attempts=5, not_before=NOW + 9_000, order=None)
    step = to.cancel_confirmed(stopped(39000), op, NOW)
    assert step.op is not None
    assert (step.op.stage, step.op.attempts, step.op.not_before) == ("PLACE", 0, 0)
    assert (step.position.sl_order, step.position.sl_qty, step.position.orders) == ("", D(0), ())
    assert step.position.sl_price == D(39000)


def test_a_cancelled_stray_leaves_the_stop_alone() -> None:
    held = stopped(39000)
    stray = replace(held.orders[0], client_order_id="SL-0")
    step = to.cancel_confirmed(replace(held, orders=(stray, *held.orders)), a_move(kind="CLEANUP", target="SL-0"), NOW)
    assert (step.op, step.outcome, step.position) == (None, "success", held)


def test_of_a_closed_position_no_new_stop_is_placed() -> None:
    step = to.cancel_confirmed(stopped(39000, status="CLOSED", qty=D(0)), a_move(), NOW)
    assert (step.op, step.outcome) == (None, "closed")


def test_the_wait_for_a_cancel_begins_anew() -> None:
    step = to.cancel_pending(stopped(39000), a_move(stage="CANCEL", attempts=4, not_before=NOW + 5), 700, NOW)
    assert step.op is not None
    assert (step.op.stage, step.op.deadline, step.op.attempts, step.op.not_before) == ("AWAIT_CANCEL", NOW + 700, 0, 0)


@pytest.mark.parametrize(
    ("members", "price", "stop"),
    [
        ({}, 39500, "SL-2"),
        ({"sl_price": D(39600)}, 39600, ""),  # a later move was tighter
        ({"self_guarded": True}, 39500, ""),
        ({"sl_order": "SL-1", "orders": stopped(39000).orders}, 39500, "SL-1"),
    ],
)
def test_a_stop_that_s4_took_behind_its_operations_back_is_published_and_protects(
    members: dict[str, object], price: int, stop: str
) -> None:
    taken = replace(a_move().order, status="NEW")  # type: ignore[type-var]
    p = replace(stopped(39000, sl_order="", orders=()), **members)  # type: ignore[arg-type]
    p = replace(p, orders=(*p.orders, taken))  # type: ignore[arg-type]
    new = result(kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-2", status="NEW", filled_qty="0",
                 avg_price=None)  # fmt: skip
    step = after_result(p, None, taken, new, RETRY, NOW, unanswered=True)  # type: ignore[arg-type]
    assert [(e["event_id"], e["price"], e["reason"]) for e in step.events] == [
        ("p1.1.STOP_MOVE.SL-2", "39500", "FOUND")
    ]
    assert (step.position.sl_price, step.position.sl_order) == (D(price), stop)
    assert after_result(p, None, taken, new, RETRY, NOW).events == ()  # type: ignore[arg-type]
    own = after_result(p, a_move(), taken, new, RETRY, NOW, unanswered=True)  # type: ignore[arg-type]
    assert (own.op, own.events) == (a_move(), ())  # its operation publishes it


def test_stops_lost_in_a_row_are_counted_though_the_clock_that_placed_them_is_an_hour_slow() -> None:
    op = a_move()
    assert op.order is not None
    known = stopped(39000, ts=NOW)  # as the listener wrote it
    placed = to.accepted(known, op, op.order, RETRY, NOW - 3_600_000).position
    assert placed.sl_ts == NOW
    told = result(kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-2", status="EXPIRED", filled_qty="0",
                  avg_price=None)  # fmt: skip
    gone = replace(placed, sl_losses=1, sl_order="", orders=())
    lost = after_result(gone, None, replace(op.order, status="EXPIRED"), told, RETRY, NOW + 200)
    assert (lost.position.sl_losses, lost.position.sl_not_before) == (2, NOW + 300)
