"""Fills that open a position or add to it: its average, its margin, what the quotas hold."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.booking import SymbolTerms
from tests.unit.booking.booked import booked, n
from tests.unit.given import NOW, position


def test_s4s_own_figures_win() -> None:
    b = booked(None, isolated_margin_usdt="4100", liq_price="36100", leverage="9.7")
    assert n(b.position.isolated_margin_usdt, b.position.liq_price) == n(4100, 36100)
    added = booked(b.position, kind="ADD", client_order_id="a1", qty="0.5", filled_qty="0.5", avg_price="43000",
                   isolated_margin_usdt="6300", liq_price="36900")  # fmt: skip
    p = added.position
    assert n(p.isolated_margin_usdt, p.added_qty, p.add_on_count, p.q0, p.reserved_margin) == n(6300, "0.5", 1, 1, 6300)
    assert [(q.key, q.delta) for q in added.quotas] == [("risk:budget:FUT", D(2200))]


def test_leverage_from_the_margin_else_one_with_a_warning() -> None:
    implied = booked(None, leverage=None, isolated_margin_usdt="2000")
    assert implied.position.leverage == 20
    assumed = booked(None, leverage=None)
    assert assumed.position.leverage == 1
    assert assumed.warnings[0][1] == "LEVERAGE_MISSING"


def test_a_margin_alone_leaves_the_leverage_that_s4_has_told() -> None:
    """S4 knows of a close of 0.2 that is yet to be heard of: its margin is that of 1.3, the books hold 1.5."""
    first = booked(None, leverage="10", isolated_margin_usdt="4000")
    second = booked(first.position, client_order_id="e2", qty="0.5", filled_qty="0.5", leverage=None,
                    isolated_margin_usdt="5200")  # fmt: skip
    p = second.position
    assert n(p.leverage, p.isolated_margin_usdt, p.reserved_margin) == n(10, 5200, 6000)


def test_an_older_leverage_never_replaces_what_a_newer_margin_implies() -> None:
    newer = booked(None, ts=NOW + 20, client_order_id="b", leverage=None, isolated_margin_usdt="2000")
    assert booked(newer.position, ts=NOW, client_order_id="a", leverage="10").position.leverage == 20
    assert booked(newer.position, ts=NOW + 30, client_order_id="c", leverage="10").position.leverage == 10


def test_figures_of_an_older_fill_never_replace_newer_ones() -> None:
    newer = booked(None, ts=NOW + 20, client_order_id="b", isolated_margin_usdt="8000", liq_price="35000")
    older = booked(newer.position, ts=NOW, client_order_id="a", isolated_margin_usdt="4000", liq_price="36000")
    p = older.position
    assert (p.qty, p.isolated_margin_usdt, p.liq_price, p.reserved_margin) == (D(2), D(8000), D(35000), D(8000))
    newest = booked(p, ts=NOW + 30, client_order_id="c", isolated_margin_usdt="12000", liq_price="34000")
    assert (newest.position.isolated_margin_usdt, newest.position.liq_price) == (D(12000), D(34000))


@pytest.mark.parametrize(
    ("newer", "older", "margin", "leverage"),
    [
        ({}, {"leverage": "10", "isolated_margin_usdt": "4000", "liq_price": "36000"}, 8000, 10),
        ({}, {"isolated_margin_usdt": "4000"}, 8000, 10),
        ({}, {"leverage": "10"}, 8000, 10),
        ({"leverage": "10"}, {"leverage": "10", "isolated_margin_usdt": "4000"}, 8000, 10),
        ({"leverage": "10"}, {"leverage": "20", "isolated_margin_usdt": "2000"}, 8000, 10),
        ({}, {}, 80000, 1),
    ],
)
def test_figures_of_an_older_fill_are_those_of_a_part(
    newer: dict[str, str], older: dict[str, str], margin: int, leverage: int
) -> None:
    """A newer fill without a margin is booked: the older one's margin alone would double the ROE."""
    none: dict[str, Any] = {"leverage": None}
    first = booked(None, ts=NOW + 20, client_order_id="b", **(none | newer))
    p = booked(first.position, ts=NOW, client_order_id="a", **(none | older)).position
    assert n(p.qty, p.isolated_margin_usdt, p.leverage, p.reserved_margin) == n(2, margin, leverage, margin)
    assert abs(p.liq_price - max((80_000 - D(margin)) / 2 / D("0.996"), D(0))) < D("1e-15")
    oldest = booked(p, ts=NOW - 20, client_order_id="z", **none).position
    assert oldest.isolated_margin_usdt == margin * 3 // 2
    whole = booked(p, ts=NOW + 30, client_order_id="c", leverage="10", isolated_margin_usdt="12100", liq_price="36050")
    assert n(whole.position.isolated_margin_usdt, whole.position.liq_price) == n(12100, 36050)


def test_a_fee_in_kind_shrinks_the_holding_and_not_its_cost() -> None:
    b = booked(None, market="SPOT", qty="0.1", filled_qty="0.1", avg_price="43000", fee_qty="0.0001", leverage=None)
    p = b.position
    assert (p.qty, p.isolated_margin_usdt) == (D("0.0999"), D(4300))
    assert abs(p.entry_price_avg - D(4300) / D("0.0999")) < D("1e-20")
    late = booked(
        p, b.order, market="SPOT", qty="0.1", filled_qty="0.1", avg_price="43000", fee_qty="0.0002", leverage=None
    )
    assert late.position.qty == D("0.0998")
    assert abs(late.position.entry_price_avg - D(4300) / D("0.0998")) < D("1e-20")


def test_spot_by_weighted_average_cost() -> None:
    first = booked(None, market="SPOT", qty="2", filled_qty="2", avg_price="100", leverage=None)
    second = booked(first.position, client_order_id="e2", market="SPOT", qty="1", filled_qty="1", avg_price="130")
    p = second.position
    assert n(p.qty, p.entry_price_avg, p.isolated_margin_usdt, p.liq_price, p.leverage) == n(3, 110, 330, 0, 1)
    sold = booked(
        p, kind="GUARD", side="SELL", market="SPOT", client_order_id="g", qty="1", filled_qty="1", avg_price="95"
    )
    assert n(sold.position.realized_pnl_usdt, sold.position.isolated_margin_usdt) == n(-15, 220)


ADD: dict[str, Any] = {"kind": "ADD", "client_order_id": "a1", "qty": "0.5", "avg_price": "43000", "leverage": None}


def test_an_add_filled_in_parts_counts_once_and_takes_what_each_part_takes() -> None:
    first = booked(position(reserved_margin=D(4000)), **ADD, status="PARTIALLY_FILLED", filled_qty="0.2")
    second = booked(first.position, first.order, **ADD, filled_qty="0.5")
    p = second.position
    assert n(p.add_on_count, p.added_qty, p.qty, p.q0) == n(1, "0.5", "1.5", 1)
    assert (p.add_ts, p.entry_ts) == (NOW, NOW)
    assert n(first.quotas[0].delta, second.quotas[0].delta) == n(860, 1290)  # 10x leverage
    assert n(p.reserved_margin, p.isolated_margin_usdt) == n(6150, 6150)
    assert [q.move_id for q in (*first.quotas, *second.quotas)] == ["p1:1:a1:0.2", "p1:1:a1:0.5"]


def test_an_add_after_the_close_is_counted_as_a_position_too() -> None:
    b = booked(position(status="CLOSED", qty=D(0)), **{**ADD, "leverage": "10"}, filled_qty="0.5")
    assert [(q.key, q.delta) for q in b.quotas] == [("risk:budget:FUT", D(2150)), ("risk:concurrency:FUT", D(1))]
    assert (b.position.q0, b.position.add_on_count) == (D("0.5"), 1)


def test_an_entry_moves_no_quota() -> None:
    assert booked(None).quotas == booked(position(), client_order_id="e2").quotas == ()


@pytest.mark.parametrize(
    ("margin", "taken"),
    [("6150.0000001", 2150), ("6150.01", "2150.01"), ("6365", 2365), ("6365.1", 2150), ("5935", 1935), ("4000", 2150)],
)
def test_s4s_margin_says_what_was_taken_where_it_can_be_meant(margin: str, taken: int | str) -> None:
    """Not where it differs by rounding, nor by more than a tenth: then it knows of something yet to be heard of."""
    b = booked(position(), **{**ADD, "leverage": "10"}, filled_qty="0.5", isolated_margin_usdt=margin)
    assert b.position.reserved_margin == D(taken)
    assert b.position.isolated_margin_usdt == D(margin)


def test_leverage_stays_where_nobody_tells_it() -> None:
    assert booked(position(), **ADD, filled_qty="0.5").position.leverage == 10
    assert booked(position(leverage=D(3)), client_order_id="e2", leverage="7").position.leverage == 7


def test_liquidation_is_computed_where_the_symbol_is_known() -> None:
    added = booked(position(), **ADD, filled_qty="0.5").position
    assert added.liq_price != D(36000)
    assert abs(added.liq_price - (D("61500") - D(6150)) / (D("1.5") * D("0.996"))) < D("1e-20")
    assert booked(position(), **ADD, filled_qty="0.5", terms=SymbolTerms()).position.liq_price == D(36000)
    assert booked(position(), **ADD, filled_qty="0.5", liq_price="0").position.liq_price == 0
