"""Fills that close a position or a part of it: profit, margin, rungs, reductions, dust."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.booking import SymbolTerms
from s6.model.position import Order, Position
from tests.unit.booking.booked import booked, n
from tests.unit.given import NOW, position


def test_a_partial_close_shrinks_the_margin_and_keeps_the_entry() -> None:
    tp = Order("t", "i", "TP", "SELL", "MARKET", D("0.25"), "NEW", NOW, 1, True, rungs=(0,))
    b = booked(position(), tp, kind="TP", side="SELL", client_order_id="t", qty="0.25", filled_qty="0.25",
               avg_price="42000", fee="4")  # fmt: skip
    p = b.position
    assert n(p.qty, p.isolated_margin_usdt, p.entry_price_avg, p.realized_pnl_usdt) == n("0.75", 3000, 40000, 496)
    assert p.tp_done == (0,)
    assert [e["type"] for e in b.events] == ["TP_PARTIAL"]


def test_more_closed_than_held_is_told_of_and_never_negative() -> None:
    b = booked(position(qty=D("0.5")), kind="EXIT", side="SELL", client_order_id="x")
    assert n(b.position.qty, b.increment) == n(0, "0.5")
    assert b.warnings[0][1] == "OVERSELL"


def test_a_reduction_in_parts_counts_once() -> None:
    part: dict[str, Any] = {
        "kind": "REDUCE",
        "side": "SELL",
        "client_order_id": "r",
        "qty": "0.5",
        "avg_price": "39000",
    }
    first = booked(position(), **part, status="PARTIALLY_FILLED", filled_qty="0.2")
    second = booked(first.position, first.order, **part, filled_qty="0.5")
    assert (second.position.reduces, second.position.qty) == (1, D("0.5"))


def test_a_step_above_what_was_held_makes_no_dust() -> None:
    b = booked(position(qty=D("0.5")), terms=SymbolTerms(D(1)), kind="EXIT", side="SELL", client_order_id="x",
               qty="0.1", filled_qty="0.1", avg_price="41000")  # fmt: skip
    assert (b.position.status, b.position.qty) == ("OPEN", D("0.4"))


@pytest.mark.parametrize(("side", "profit"), [("LONG", 500), ("SHORT", -500)])
def test_profit_has_the_positions_sign(side: Any, profit: int) -> None:
    b = booked(position(side=side), kind="EXIT", side="SELL" if side == "LONG" else "BUY", client_order_id="x",
               qty="0.5", filled_qty="0.5", avg_price="41000")  # fmt: skip
    assert (b.position.realized_pnl_usdt, b.position.qty) == (D(profit), D("0.5"))


@pytest.mark.parametrize(("filled", "closed"), [("0.9990", False), ("0.9991", True), ("1", True)])
def test_less_than_a_step_left_is_dust(filled: str, closed: bool) -> None:
    b = booked(position(), kind="EXIT", side="SELL", client_order_id="x", filled_qty=filled, avg_price="41000")
    assert (b.closed, b.position.status) == (closed, "CLOSED" if closed else "OPEN")
    assert b.position.dust == (1 - D(filled) if closed else 0)
    assert b.position.closed_ts == (NOW if closed else 0)


def test_of_a_symbol_nobody_knows_only_nothing_is_nothing() -> None:
    part: dict[str, Any] = {"kind": "EXIT", "side": "SELL", "client_order_id": "x", "avg_price": "41000"}
    assert not booked(position(), terms=SymbolTerms(), filled_qty="0.9999", **part).closed
    assert booked(position(), terms=SymbolTerms(), filled_qty="1", **part).closed


def test_a_reduction_is_timed_and_others_are_not_counted() -> None:
    part: dict[str, Any] = {"side": "SELL", "qty": "0.5", "filled_qty": "0.5", "avg_price": "39000"}
    p = booked(position(), kind="REDUCE", client_order_id="r", **part).position
    assert (p.reduces, p.reduce_ts) == (1, NOW)
    other = booked(position(), kind="EXIT", client_order_id="x", **part).position
    assert (other.reduces, other.reduce_ts) == (0, 0)


def test_oversold_with_nothing_held_books_nothing() -> None:
    closed = position(status="CLOSED", qty=D(0))
    b = booked(closed, kind="EXIT", side="SELL", client_order_id="x")
    assert (b.increment, b.position.realized_pnl_usdt, b.events) == (D(0), D(0), ())
    assert [code for _, code, _ in b.warnings] == ["OVERSELL"]


LADDER = '[{"roe":0.5,"fraction":0.5},{"roe":1,"fraction":0.5},{"roe":2,"fraction":1}]'


def taken(p: Position, **order: Any) -> Position:
    one = Order("t", "i", "TP", "SELL", "MARKET", D("0.25"), "NEW", NOW, 1, True, **order)
    return booked(p, one, kind="TP", side="SELL", client_order_id="t", qty="0.25", filled_qty="0.25",
                  avg_price="42000").position  # fmt: skip


def test_a_rung_is_done_with_all_below_it() -> None:
    p = taken(position(ladder=LADDER), rungs=(1,), rung_roe=D(1))
    assert (p.tp_done, p.tp_roe) == ((0, 1), D(1))
    assert taken(position(ladder=LADDER), rungs=(1,)).tp_roe == D(1)  # as the ladder in force has it
    higher = taken(position(ladder=LADDER, tp_roe=D(2), tp_done=(0, 1, 2)), rungs=(0,), rung_roe=D("0.5"))
    assert (higher.tp_done, higher.tp_roe) == ((0, 1, 2), D(2))


def test_without_a_ladder_the_orders_own_rungs_are_done() -> None:
    assert taken(position(tp_done=(2,)), rungs=(1,)).tp_done == (1, 2)
    assert taken(position(tp_done=(2,)), rungs=(1,), rung_roe=D(1)).tp_done == (1, 2)
    assert taken(position(ladder=LADDER), rungs=()).tp_done == ()
