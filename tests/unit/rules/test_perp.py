from decimal import Decimal as D

import pytest

from s6 import rules


@pytest.mark.parametrize(("side", "expected"), [("LONG", "250"), ("SHORT", "-250")])
def test_pnl(side: str, expected: str) -> None:
    assert rules.pnl(mark=D(40500), entry=D(40000), qty=D("0.5"), side=side) == D(expected)


def test_pnl_keeps_every_digit() -> None:
    found = rules.pnl(
        mark=D("1.0000000000000000000000000000001"), entry=D(1), qty=D("0.000000000000000001"), side="LONG"
    )
    assert found == D("1E-49")


def test_integers_are_numbers() -> None:
    assert rules.pnl(mark=40500, entry=40000, qty=2, side="LONG") == 1000  # type: ignore[arg-type]


def test_roe() -> None:
    assert rules.roe(pnl=D(250), margin=D(2000)) == D("0.125")
    assert rules.roe(pnl=D(-1), margin=D(3)) == D("-0." + "3" * 49 + "4")
    assert rules.roe(pnl=D(0), margin=D(3)) == 0


@pytest.mark.parametrize(
    ("mark", "liq_price", "side", "expected"),
    [
        ("40000", "36000", None, "0.1"),
        ("40000", "36000", "LONG", "0.1"),
        ("40000", "44000", "SHORT", "0.1"),
        ("40000", "44000", None, "0.1"),
        ("36000", "36000", "LONG", "0"),
        ("30000", "36000", "LONG", "0"),
        ("30000", "36000", None, "0.2"),
        ("36000", "36000", "SHORT", "0"),
        ("48000", "36000", "SHORT", "0"),
        ("40000", "0", "LONG", "1"),
        ("40000", "0", "SHORT", "1"),
        ("40000", "0", None, "1"),
    ],
)
def test_liquidation_buffer(mark: str, liq_price: str, side: str | None, expected: str) -> None:
    assert rules.liquidation_buffer(mark=D(mark), liq_price=D(liq_price), side=side) == D(expected)


def test_without_a_liquidation_price_there_is_all_the_buffer() -> None:
    assert rules.liquidation_buffer(mark=D(40000), liq_price=None, side="LONG") == 1


@pytest.mark.parametrize(
    ("side", "margin", "mmr", "expected"),
    [
        ("LONG", "2000", "0", "36000"),
        ("LONG", "2000", "0.1", "40000"),  # 18000 / 0.45
        ("SHORT", "2000", "0", "44000"),
        ("SHORT", "2000", "0.1", "40000"),  # 22000 / 0.55
        ("LONG", "20000", "0.1", "0"),
        ("LONG", "25000", "0.1", "0"),
    ],
)
def test_liquidation_price(side: str, margin: str, mmr: str, expected: str) -> None:
    found = rules.liquidation_price(entry=D(40000), qty=D("0.5"), margin=D(margin), mmr=D(mmr), side=side)
    assert found == D(expected)


@pytest.mark.parametrize(
    ("side", "roe", "expected"),
    [("LONG", "0.5", "42000"), ("SHORT", "0.5", "38000"), ("LONG", "-0.5", "38000"), ("SHORT", "11", "-4000")],
)
def test_mark_at_roe(side: str, roe: str, expected: str) -> None:
    found = rules.mark_at_roe(side=side, entry=D(40000), qty=D("0.5"), margin=D(2000), roe=D(roe))
    assert found == D(expected)


@pytest.mark.parametrize(
    ("side", "liq_price", "buffer", "expected"),
    [("LONG", "38000", "0.05", "40000"), ("SHORT", "42000", "0.05", "40000"), ("LONG", "38000", "0", "38000")],
)
def test_mark_at_buffer(side: str, liq_price: str, buffer: str, expected: str) -> None:
    assert rules.mark_at_buffer(side=side, liq_price=D(liq_price), buffer=D(buffer)) == D(expected)


@pytest.mark.parametrize("liq_price", [None, D(0)])
def test_no_mark_for_what_cannot_be_liquidated(liq_price: D | None) -> None:
    assert rules.mark_at_buffer(side="LONG", liq_price=liq_price, buffer=D("0.05")) is None


def test_average_entry() -> None:
    assert rules.average_entry(qty=D(1), entry=D(40000), add_qty=D(3), add_price=D(42000)) == 41500
    assert rules.average_entry(qty=D(0), entry=D(0), add_qty=D(3), add_price=D(42000)) == 42000


def test_margin_after_fills() -> None:
    assert rules.initial_margin(qty=D("0.5"), price=D(40000), leverage=D(10)) == 2000
    assert rules.margin_after_add(margin=D(2000), add_qty=D("0.25"), add_price=D(42000), leverage=D(10)) == 3050
    assert rules.margin_after_close(margin=D(2000), closed_qty=D("0.125"), qty=D("0.5")) == 1500
    assert rules.margin_after_close(margin=D(2000), closed_qty=D("0.5"), qty=D("0.5")) == 0
    assert rules.implied_leverage(entry=D(40000), qty=D("0.5"), margin=D(2000)) == 10
