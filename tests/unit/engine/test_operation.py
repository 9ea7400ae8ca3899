"""A planned action becomes an operation: its stage, its ids, its order."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.engine.operation import begin, ids, order_of
from s6.model.position import Order
from s6.plan import Action
from tests.unit.given import NOW, position, stopped

STEP = D("0.001")


def action(type_: Any, **members: Any) -> Action:
    return Action(type_, "WHY", **{"qty": D("0.4"), "step": STEP, **members})


@pytest.mark.parametrize(
    ("planned", "stage"),
    [
        (action("STOP_MOVE"), "PLACE"),
        (action("STOP_MOVE", target="SL-1"), "CANCEL"),
        (action("CLEANUP", target="SL-1"), "CANCEL"),
        (action("TP_PARTIAL"), "PLACE"),
        (action("EXIT"), "PLACE"),
    ],
)
def test_what_has_an_old_order_to_cancel_begins_with_that(planned: Action, stage: str) -> None:
    _, op = begin(position(), planned, NOW)
    assert (op.stage, op.target, op.started_ts, op.step) == (stage, planned.target, NOW, STEP)


def test_ids_follow_from_the_decisions_place_alone() -> None:
    held = position(op_count=4, life=2)
    after, op = begin(held, action("STOP_MOVE", old=D(1), new=D(2), level=3), NOW, tick_ts=7)
    assert (after.op_count, op.op_id) == (5, "2-5")
    assert (op.intent, op.client_order_id) == ids(held, 5, "SL")
    assert op.intent.startswith("sl-") and op.client_order_id == f"SL-{op.intent[3:]}"
    assert len(op.client_order_id) == 27  # S4 takes up to 36
    assert (op.old_price, op.new_price, op.level, op.tick_ts) == (D(1), D(2), 3, 7)
    others = {ids(held, 5, "TP"), ids(held, 6, "SL"), ids(replace(held, life=3), 5, "SL"), ids(held, 5, "SL")}
    assert len(others) == 4
    again, same = begin(replace(held, qty=D(9), rev=99), action("STOP_MOVE"), NOW + 5)
    assert (same.client_order_id, again.op_count) == (op.client_order_id, 5)


def test_an_exit_sticks_and_a_signal_is_used_up() -> None:
    assert begin(position(), action("EXIT"), NOW)[0].exit_reason == "WHY"
    assert begin(position(), action("TP_PARTIAL"), NOW)[0].exit_reason == ""
    assert begin(position(), action("ADD", signal_id="s1"), NOW)[0].used_signals == ("s1",)


def test_a_refusal_counts_on_where_no_stop_lives() -> None:
    assert begin(position(sl_refusals=1), action("STOP_MOVE"), NOW)[1].refusals == 1
    assert begin(position(sl_refusals=1), action("TP_PARTIAL"), NOW)[1].refusals == 0
    assert begin(stopped(39_000, sl_refusals=1), action("STOP_MOVE", target="SL-1"), NOW)[1].refusals == 0


KINDS = [
    ("STOP_MOVE", "SL", "SELL", "STOP_MARKET", D(1)),
    ("TP_PARTIAL", "TP", "SELL", "MARKET", D("0.4")),
    ("RISK_DOWNGRADE", "REDUCE", "SELL", "MARKET", D("0.4")),
    ("EXIT", "EXIT", "SELL", "MARKET", D("0.4")),
    ("ADD", "ADD", "BUY", "MARKET", D("0.4")),
]


@pytest.mark.parametrize(("type_", "kind", "side", "order_type", "qty"), KINDS)
def test_the_order_says_what_was_decided(type_: str, kind: str, side: str, order_type: str, qty: D) -> None:
    held, op = begin(position(life=3), action(type_, new=D(39_000), rungs=(1,), signal_id="s1"), NOW)
    order = order_of(held, op, NOW + 9)
    assert order is not None and order.ours and order.rungs == (1,) and order.signal_id == "s1"
    assert (order.client_order_id, order.intent_id) == (op.client_order_id, op.intent)
    assert (order.kind, order.side, order.type, order.qty) == (kind, side, order_type, qty)
    assert (order.status, order.sent_ts, order.life) == ("PENDING", NOW + 9, 3)
    assert order.stop_px == (D(39_000) if kind == "SL" else None)
    short, op = begin(position(side="SHORT"), action(type_), NOW)
    other = order_of(short, op, NOW)
    assert other is not None and other.side == ("SELL" if side == "BUY" else "BUY")


def test_a_guard_that_is_crossed_sells_as_one() -> None:
    held, op = begin(position(), action("EXIT", guard=True), NOW)
    order = order_of(held, op, NOW)
    assert (op.reason, order is not None and order.kind) == ("GUARD", "GUARD")
    held, op = begin(position(), action("TP_PARTIAL", guard=True), NOW)
    order = order_of(held, op, NOW)
    assert order is not None and order.kind == "TP"


def test_what_closes_is_sized_by_what_is_free_then() -> None:
    working = Order("TP-1", "i", "TP", "SELL", "MARKET", D("0.5"), "NEW", NOW, 1, True, filled=D("0.1"))
    held, op = begin(position(qty=D("0.7007"), orders=(working,)), action("EXIT"), NOW)
    order = order_of(held, op, NOW)
    assert order is not None and order.qty == D("0.3")  # 0.7007 less 0.4, in whole steps
    stop = order_of(*begin(held, action("STOP_MOVE"), NOW), NOW)
    assert stop is not None and stop.qty == D("0.7")  # a stop covers all
    add = order_of(*begin(held, action("ADD", qty=D(5)), NOW), NOW)
    assert add is not None and add.qty == D(5)


def test_nothing_left_is_no_order() -> None:
    for held in (position(qty=D("0.0009")), position(status="CLOSED", qty=D(0)), position(status="CLOSED")):
        assert order_of(*begin(held, action("EXIT", qty=D(1)), NOW), NOW) is None
    assert order_of(*begin(position(), action("ADD", qty=D(0)), NOW), NOW) is None
