"""Against the rational oracle, and in hostile decimal contexts."""

import decimal
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_UP, Context, Decimal
from fractions import Fraction as F
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s6 import rules

from . import oracle
from .given import (
    add_arguments,
    examples,
    locks,
    margins,
    parts,
    prices,
    quantities,
    rungs,
    scaled,
    sides,
    stop_arguments,
    tp_arguments,
    units,
)
from .given import close_to as good


def hostile() -> list[Context]:
    signals = list(Context().flags)
    return [
        Context(prec=1, rounding=ROUND_UP, Emin=0, Emax=0, capitals=0, clamp=1, traps=[]),
        Context(prec=3, rounding=ROUND_CEILING, traps=signals),
    ]


@examples
@given(stop_arguments)
def test_stops_are_the_oracles(arguments: dict[str, Any]) -> None:
    decision = rules.next_stop_price(**arguments)
    steps = [(s.roe, s.lock_roe) for s in arguments["lock_steps"]]
    price, level, passed = oracle.next_stop(**{**arguments, "lock_steps": steps})
    assert (None if decision.price is None else F(decision.price)) == price
    assert (decision.level, decision.passed) == (level, passed)


@examples
@given(tp_arguments)
def test_ladder_decisions_are_the_oracles(arguments: dict[str, Any]) -> None:
    decision = rules.tp_ladder_decision(**arguments)
    ladder = [(r.roe, r.fraction) for r in arguments["ladder"]]
    assert (F(decision.qty), decision.rungs) == oracle.tp_ladder(**{**arguments, "ladder": ladder})


@examples
@given(add_arguments)
def test_adds_are_the_oracles(arguments: dict[str, Any]) -> None:
    assert F(rules.add_on_decision(**arguments).qty) == oracle.add_on(**arguments)


@examples
@given(mark=prices, entry=prices, qty=quantities, margin=margins, side=sides, mmr=scaled(0, 1).filter(lambda x: x < 1))
def test_figures_of_a_perpetual_are_the_oracles(
    mark: Decimal, entry: Decimal, qty: Decimal, margin: Decimal, side: str, mmr: Decimal
) -> None:
    gain = rules.pnl(mark=mark, entry=entry, qty=qty, side=side)
    assert F(gain) == oracle.pnl(mark, entry, qty, side)
    assert good(rules.roe(pnl=gain, margin=margin), F(gain) / F(margin))
    liq = rules.liquidation_price(entry=entry, qty=qty, margin=margin, mmr=mmr, side=side)
    assert good(liq, oracle.liquidation_price(entry, qty, margin, mmr, side))
    for of in (None, side):
        buffer = rules.liquidation_buffer(mark=mark, liq_price=entry, side=of)
        assert good(buffer, oracle.liquidation_buffer(mark, entry, of))


@examples
@given(qty=quantities, price=prices, more=quantities, more_price=prices, margin=margins, part=parts)
def test_figures_after_fills_are_rational(
    qty: Decimal, price: Decimal, more: Decimal, more_price: Decimal, margin: Decimal, part: Decimal
) -> None:
    average = (F(qty) * F(price) + F(more) * F(more_price)) / (F(qty) + F(more))
    held = rules.wac_buy(qty=qty, wac=price, buy_qty=more, buy_price=more_price)
    assert F(held.qty) == F(qty) + F(more)
    assert good(held.wac, average)
    assert good(rules.average_entry(qty=qty, entry=price, add_qty=more, add_price=more_price), average)
    left = rules.margin_after_close(margin=margin, closed_qty=qty * part, qty=qty)
    assert good(left, F(margin) * (1 - F(part)))
    grown = rules.margin_after_add(margin=margin, add_qty=more, add_price=more_price, leverage=qty)
    assert good(grown, F(margin) + F(more) * F(more_price) / F(qty))
    assert good(rules.initial_margin(qty=qty, price=price, leverage=more), F(qty) * F(price) / F(more))
    assert good(rules.implied_leverage(entry=price, qty=qty, margin=margin), F(price) * F(qty) / F(margin))


@examples
@given(
    lot=st.fixed_dictionaries(
        {"step": units, "min_qty": scaled(0, 20), "min_notional": scaled(0, 900), "mark": prices}
    ),
    qty=quantities,
    fraction=parts,
)
def test_sizes_are_the_oracles(lot: dict[str, Decimal], qty: Decimal, fraction: Decimal) -> None:
    assert F(rules.smallest_valid_qty(**lot)) == oracle.smallest_valid(**lot)
    expected = oracle.close_part(F(fraction), qty, **lot) if qty >= lot["step"] else 0
    assert F(rules.reduce_decision(qty=qty, fraction=fraction, **lot)) == expected


D = Decimal
STOP: dict[str, Any] = {
    "side": "LONG",
    "entry": D("43210.98765432109876543210987654321"),
    "qty": D("0.0273"),
    "margin": D("117.3903370000000000000000000000000001"),
    "mark": D("49321.4"),
    "atr": D("123.4567"),
    "k": D("2.5"),
    "sl_prev": None,
    "level": 0,
    "lock_steps": locks(("0.5", "0.2"), ("1.0", "0.6")),
    "tick": D("0.1"),
    "fallback_pct": D("0.02"),
    "liq_price": D("38851.4567"),
    "liq_clearance": D("0.005"),
}
LOT = {"step": D("0.001"), "min_qty": D("0.001"), "min_notional": D("5.0000001"), "mark": D("49321.4")}
CALLS: list[Callable[[], object]] = [
    lambda: rules.pnl(mark=D("49321.4"), entry=D("43210.98765432109876543210987654321"), qty=D("0.0273"), side="SHORT"),
    lambda: rules.roe(pnl=D("-100.123"), margin=D("7")),
    lambda: rules.liquidation_buffer(mark=D("49321.4"), liq_price=D("38851.4567"), side="LONG"),
    lambda: rules.liquidation_price(
        entry=D("43000"), qty=D("0.0273"), margin=D("117.39"), mmr=D("0.004"), side="SHORT"
    ),
    lambda: rules.next_stop_price(**STOP),
    lambda: rules.next_stop_price(**{**STOP, "side": "SHORT", "mark": D("40000"), "atr": None}),
    lambda: rules.tp_ladder_decision(
        roe=D("1.6"), ladder=rungs(("0.8", "0.33"), ("1.5", "0.5")), done=[], qty=D("1.2345678"), **LOT
    ),
    lambda: rules.add_on_decision(
        roe=D("0.5"),
        add_on_count=2,
        added_qty=D("0.2"),
        q0=D("1.23456789"),
        signal="LONG",
        side="LONG",
        gate=D("0.3"),
        cap=3,
        gamma=D("0.512345"),
        eta=D("0.8"),
        **LOT,
    ),
    lambda: rules.wac_buy(qty=D("1.5"), wac=D("43000.123"), buy_qty=D("0.7"), buy_price=D("43111.1")),
    lambda: rules.wac_sell(qty=D("1.5"), wac=D("43000.123"), sell_qty=D("0.77777"), sell_price=D("43111.1")),
    lambda: rules.unrealized(mark=D("49321.4"), wac=D("43000.123"), qty=D("1.55555")),
    lambda: rules.transfer_need(
        free_fut=D("-12.3456789"),
        free_spot=D("99999.99"),
        min_free_fut=D("500.1"),
        spot_buffer=D("200.5"),
        max_transfer=D("10000"),
    ),
    lambda: rules.mark_at_roe(side="LONG", entry=D("43000"), qty=D("0.7"), margin=D("117.39"), roe=D("0.35")),
    lambda: rules.mark_at_buffer(side="SHORT", liq_price=D("43000"), buffer=D("0.05")),
    lambda: rules.average_entry(qty=D("1.5"), entry=D("43000.123"), add_qty=D("0.7"), add_price=D("43111.1")),
    lambda: rules.initial_margin(qty=D("1.5"), price=D("43000.123"), leverage=D("7")),
    lambda: rules.margin_after_add(margin=D("117.39"), add_qty=D("1.5"), add_price=D("43000"), leverage=D("7")),
    lambda: rules.margin_after_close(margin=D("117.39"), closed_qty=D("0.1"), qty=D("0.7")),
    lambda: rules.implied_leverage(entry=D("43000"), qty=D("0.7"), margin=D("117.39")),
    lambda: rules.reduce_decision(qty=D("1.2345678"), fraction=D("0.3333"), **LOT),
    lambda: rules.smallest_valid_qty(**LOT),
    lambda: rules.round_down(D("-43000.123"), D("0.07")),
    lambda: rules.round_up(D("43000.123"), D("0.07")),
]


@pytest.mark.parametrize("call", CALLS)
def test_the_callers_context_neither_matters_nor_changes(call: Callable[[], object]) -> None:
    expected = call()
    for context in hostile():
        with decimal.localcontext(context) as ambient:
            before = repr(ambient)
            found = call()
            assert decimal.getcontext() is ambient
            assert repr(ambient) == before
        assert repr(found) == repr(expected)


def test_the_context_comes_back_after_an_error() -> None:
    ambient = decimal.getcontext()
    with pytest.raises(ValueError, match="tick"):
        rules.next_stop_price(**{**STOP, "tick": D(0)})
    assert decimal.getcontext() is ambient


def test_far_apart_magnitudes() -> None:
    far = rules.pnl(mark=D("1E+300"), entry=D("1E-300"), qty=D("1E-30"), side="LONG")
    assert F(far) == (F(10) ** 300 - F(1, 10**300)) / F(10) ** 30
    assert rules.round_down(D("1E+300"), D("3E-30")) <= D("1E+300")
    assert rules.roe(pnl=D("1E-300"), margin=D("1E+300")) == D("1E-600")


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (rules.round_down(D("4.4E+4"), D("1E+1")), "44000"),
        (rules.round_up(D("43999.91"), D("0.1")), "44000.0"),
        (rules.pnl(D("5E+4"), D("4E+4"), D("1E+1"), "LONG"), "100000"),
        (rules.pnl(D("40000.00"), D("40000"), D("0.00000001"), "SHORT"), "0"),
        (rules.roe(D("-0.00"), D("7")), "0"),
        (rules.roe(D("1E+5"), D("10")), "10000"),
        (rules.roe(D("0.660"), D("2.0")), "0.33"),
    ],
)
def test_results_are_written_plainly(found: Decimal, text: str) -> None:
    assert str(found) == text


def test_a_ratio_just_short_of_a_threshold_does_not_reach_it() -> None:
    margin = D(10**70)
    assert rules.roe(pnl=D(8 * 10**69 - 1), margin=margin) < D("0.8")
    assert rules.roe(pnl=D(8 * 10**69), margin=margin) == D("0.8")
    assert rules.roe(pnl=D(-(10**69) - 1), margin=margin) < D("-0.1")
    assert rules.liquidation_buffer(mark=margin, liq_price=D(95 * 10**68 + 1)) < D("0.05")
    assert rules.liquidation_buffer(mark=margin, liq_price=D(95 * 10**68)) == D("0.05")
