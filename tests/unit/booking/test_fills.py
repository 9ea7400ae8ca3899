"""Fills as exchanges tell them: what is held is right, whatever the figures beside it say."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.booking import Booking, SymbolTerms
from s6.model.wire import MalformedMessage, SideConflict
from tests.unit.booking.booked import booked
from tests.unit.given import position, stopped


def codes(booking: Booking) -> list[tuple[str, str]]:
    return [(severity, code) for severity, code, _ in booking.warnings]


def test_an_increment_that_comes_out_below_zero_is_booked_at_the_average_and_its_exact_cost() -> None:
    terms = SymbolTerms(D(1), D("0.004"))
    first = booked(
        None, terms=terms, status="PARTIALLY_FILLED", qty="1000001", filled_qty="1000000", avg_price="0.0000123"
    )
    second = booked(
        first.position, first.order, terms=terms, qty="1000001", filled_qty="1000001", avg_price="0.0000122"
    )
    assert (second.position.qty, second.position.entry_price_avg) == (D(1000001), D("0.0000122"))
    assert (second.increment, second.price, second.order.status) == (D(1), D("0.0000122"), "FILLED")
    assert codes(second) == [("WARN", "FIGURES_ODD")]


def test_a_hair_above_the_ordered_quantity_is_the_ordered_quantity() -> None:
    first = booked(None, status="PARTIALLY_FILLED", qty="0.3", filled_qty="0.2")
    last = booked(first.position, first.order, qty="0.3", filled_qty="0.30000000000000004")
    assert (last.position.qty, last.order.status, last.order.filled) == (D("0.3"), "FILLED", D("0.3"))
    unknown = booked(None, terms=SymbolTerms(), qty="0.3", filled_qty="0.30000000000000004")
    assert unknown.position.qty == D("0.3")


def test_a_step_above_the_ordered_quantity_was_filled() -> None:
    b = booked(None, qty="5", filled_qty="5.012345")
    assert (b.position.qty, b.order.qty) == (D("5.012345"), D("5.012345"))


@pytest.mark.parametrize("qty", ["0", "", None])
def test_a_quantity_of_zero_or_none_is_what_was_filled(qty: str | None) -> None:
    assert booked(None, qty=qty, filled_qty="0.1").position.qty == D("0.1")


def test_figures_that_do_not_belong_to_the_kind_are_not_looked_at() -> None:
    held = position(entry_price_avg=D(43000), isolated_margin_usdt=D(4300))
    b = booked(held, kind="SL", side="SELL", type="STOP_MARKET", client_order_id="s", avg_price="42140", leverage="0",
               isolated_margin_usdt="-0.01", liq_price="nonsense")  # fmt: skip
    assert (b.position.status, b.position.realized_pnl_usdt, codes(b)) == ("CLOSED", D(-860), [])
    spot = booked(None, market="SPOT", leverage="0")
    assert (spot.position.qty, codes(spot)) == (D(1), [])


@pytest.mark.parametrize(
    ("name", "value"),
    [("liq_price", "-12.5"), ("leverage", "0"), ("isolated_margin_usdt", "0"), ("leverage", "ten"), ("fee", "NaN")],
)
def test_a_figure_that_cannot_be_counts_as_absent(name: str, value: str) -> None:
    fields: dict[str, Any] = {"leverage": "10", name: value}
    b = booked(None, **fields)
    assert b.position.qty == 1
    assert ("WARN", "FIGURES_ODD") in codes(b)
    assert b.position.liq_price >= 0 and b.position.isolated_margin_usdt > 0


@pytest.mark.parametrize("average", ["0", "", None])
def test_an_average_matters_only_where_something_was_filled(average: str | None) -> None:
    p = stopped(42139)
    stop = replace(p.orders[0], filled=D("0.4"), avg_price=D(42139), status="PARTIALLY_FILLED")
    p = replace(p, qty=D("0.6"), orders=(stop,))
    b = booked(p, stop, kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-1", status="CANCELED",
               filled_qty="0.4", avg_price=average)  # fmt: skip
    assert (b.position.qty, b.position.sl_order, b.order.status, codes(b)) == (D("0.6"), "", "CANCELED", [])


def test_a_fill_without_a_price_is_booked_at_the_stops_own() -> None:
    p = stopped(39000)
    b = booked(p, p.orders[0], kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-1", avg_price=None)
    assert (b.position.status, b.position.realized_pnl_usdt) == ("CLOSED", D(-1000))
    assert codes(b) == [("WARN", "FIGURES_ODD")]
    with pytest.raises(MalformedMessage, match="avg_price"):
        booked(None, avg_price=None)


def test_an_entry_against_an_open_position_is_a_conflict() -> None:
    with pytest.raises(SideConflict):
        booked(position(), client_order_id="e2", side="SELL", qty="2", filled_qty="2")


def test_a_fee_in_kind_cannot_be_all_that_was_filled() -> None:
    b = booked(None, market="SPOT", fee_qty="1", leverage=None)
    assert (b.position.qty, codes(b)) == (D(1), [("WARN", "FIGURES_ODD")])


def test_nothing_is_odd_about_a_result_without_a_fill() -> None:
    p = stopped(39000)
    b = booked(p, p.orders[0], kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-1", status="CANCELED",
               filled_qty="0", avg_price=None)  # fmt: skip
    assert codes(b) == []


def test_a_fee_of_a_life_that_is_over_touches_no_other() -> None:
    first = booked(None)
    close: dict[str, Any] = {"kind": "EXIT", "side": "SELL", "client_order_id": "x", "avg_price": "39900"}
    closed = booked(first.position, **close)
    assert closed.position.realized_pnl_usdt == -100
    reborn = booked(closed.position, client_order_id="e2")
    late = booked(reborn.position, closed.order, **close, fee="20")
    assert (late.position.life, late.position.realized_pnl_usdt, codes(late)) == (2, D(0), [("WARN", "LATE_FEE")])


def test_others_order_told_of_anew_with_other_figures_is_a_conflict() -> None:
    held = position()
    first = booked(
        held, kind="EXIT", side="SELL", client_order_id="adl", qty="0.5", filled_qty="0.5", avg_price="41000"
    )
    again = booked(first.position, first.order, kind="EXIT", side="SELL", client_order_id="adl", qty="0.3",
                   filled_qty="0.3", avg_price="41500")  # fmt: skip
    assert (again.position.qty, codes(again)) == (D("0.5"), [("ERROR", "RESULT_CONFLICT")])


def test_a_word_the_contract_does_not_know_is_taken_for_what_it_resembles_and_said() -> None:
    p = stopped(39000)
    b = booked(p, p.orders[0], kind="SL", side="SELL", type="TAKE_PROFIT_MARKET", client_order_id="SL-1",
               status="EXPIRED_IN_MATCH", filled_qty="0", avg_price=None)  # fmt: skip
    assert (b.order.status, b.order.type, b.position.sl_order) == ("EXPIRED", "STOP_MARKET", "")
    assert ("ERROR", "RESULT_UNCLEAR") in codes(b)
