"""Why a position must go, whole or in part, and how much of it still can."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.market import Extremes
from s6.model.position import Order, Position
from s6.plan import Action, build_plan, closing
from s6.plan.context import PlanContext
from tests.unit.given import NOW, bundle, position, stopped, view
from tests.unit.plan.contexts import context, decided, spot


def why(asked: PlanContext) -> str | None:
    """Why all of it must go at market."""
    action = closing.leave(asked, decided(asked))
    return None if action is None else action.reason


# --- the whole ----------------------------------------------------------------------------------------------------


def test_a_reason_that_sticks_goes_before_all_others() -> None:
    assert why(context(stopped(39600, exit_reason="OPERATOR", sl_refusals=2, liq_price=D(39900)))) == "OPERATOR"
    assert why(context(stopped(39600))) is None


@pytest.mark.parametrize(("mark", "reason"), [("36734.7", None), ("36734.6", "LIQUIDATION_BUFFER")])
def test_below_lb_exit_it_goes(mark: str, reason: str | None) -> None:
    held = stopped(36500)
    assert why(context(held, mark, fut={"risk": {"lb_exit": "0.02"}})) == reason  # (mark - 36000) / mark = 0.02


def test_spot_cannot_be_liquidated() -> None:
    assert why(context(replace(spot(stopped(38000)), liq_price=D(39999)))) is None


@pytest.mark.parametrize(("refusals", "reason"), [(1, None), (2, "STOP_REFUSED"), (3, "STOP_REFUSED")])
def test_after_two_refused_stops_it_goes_and_is_fatal(refusals: int, reason: str | None) -> None:
    asked = context(position(sl_price=D(39000), sl_refusals=refusals))
    action = closing.leave(asked, decided(asked))
    assert (action and (action.reason, action.fatal)) == (reason and (reason, True))


@pytest.mark.parametrize(("late_ms", "reason"), [(1_999, None), (2_000, "STOP_BREACHED")])
def test_a_live_stop_that_was_passed_has_its_grace(late_ms: int, reason: str | None) -> None:
    held = stopped(39600, breach_ts=NOW)
    assert why(context(held, 39500, now=NOW + late_ms)) == reason
    assert why(context(replace(held, sl_order="", orders=()), 39500)) == "STOP_PASSED"


def guard(held: Position, mark: int, extremes: Extremes | None = None) -> str | None:
    return why(context(held, view(mark, extremes=extremes)))


@pytest.mark.parametrize(("side", "at", "beyond"), [("LONG", 38000, 37999), ("SHORT", 42000, 42001)])
def test_a_guard_is_crossed_by_any_tick_since_it_stands(side: Any, at: int, beyond: int) -> None:
    held = replace(spot(position(side=side)), sl_price=D(at), sl_ts=NOW)
    assert guard(held, 40000) is None
    assert guard(held, at) == guard(held, beyond) == "GUARD"
    touched = Extremes(D(max(at, 40000)), NOW, D(min(at, 40000)), NOW)
    assert guard(held, 40000, touched) == "GUARD"
    assert guard(replace(held, sl_ts=NOW + 1), 40000, touched) is None  # before the guard was moved there
    near = Extremes(D(41999), NOW, D(38001), NOW)
    assert guard(held, 40000, near) is None


def test_what_is_too_small_for_s4_is_guarded_likewise() -> None:
    held = position(self_guarded=True, sl_price=D(39000))
    assert guard(held, 38999) == "GUARD"
    assert guard(replace(held, self_guarded=False), 38999) == "STOP_PASSED"


# --- an exit that S4 has refused ----------------------------------------------------------------------------------


def test_a_refused_exit_waits_for_its_pause() -> None:
    """S4 would be asked as fast as it refuses."""
    held = stopped(39600, exit_reason="OPERATOR", exit_not_before=NOW + 1_500)
    early = build_plan(held, view(40000), bundle(), "NORMAL", NOW)
    assert (early.actions, early.recheck_ms) == ((), 1_500)
    (late,) = build_plan(held, view(40000), bundle(), "NORMAL", NOW + 1_500).actions
    assert (late.type, late.reason) == ("EXIT", "OPERATOR")


def test_so_does_one_of_a_symbol_that_no_bundle_names() -> None:
    held = position(symbol="XUSDT", exit_reason="OPERATOR", exit_not_before=NOW + 1_500)
    early = build_plan(held, view(40000), bundle(), "NORMAL", NOW)
    assert (early.actions, early.recheck_ms) == ((), 1_500)
    assert [a.type for a in build_plan(held, view(40000), bundle(), "NORMAL", NOW + 1_500).actions] == ["EXIT"]


# --- how long it has been beyond ----------------------------------------------------------------------------------


def test_since_when_a_stop_is_passed_is_remembered_and_forgotten() -> None:
    beyond = context(stopped(39600), 39500)
    assert closing.breached(beyond, decided(beyond)).breach_ts == NOW
    still = context(stopped(39600, breach_ts=NOW - 9), 39500)
    assert closing.breached(still, decided(still)).breach_ts == NOW - 9
    back = context(stopped(39600, breach_ts=NOW - 9), 39700)
    assert closing.breached(back, decided(back)).breach_ts == 0
    without = context(position(sl_price=D(39600)), 39500)
    assert closing.breached(without, decided(without)).breach_ts == 0


# --- how much -----------------------------------------------------------------------------------------------------


def test_what_others_close_already_is_left_out_and_only_whole_steps_go() -> None:
    working = Order("TP-1", "i", "TP", "SELL", "MARKET", D("0.4"), "PARTIALLY_FILLED", NOW, 1, True, filled=D("0.1"))
    assert closing.closable(context(position(qty=D("1.0007"), orders=(working,)))) == D("0.7")
    assert closing.closable(context(position(qty=D("0.3"), orders=(working,)))) == 0
    assert closing.closable(context(position(qty=D("0.2"), orders=(working,)))) == 0


NEAR: dict[str, Any] = {"liq_price": D(38500)}  # a buffer of 3.75 % at 40000: below 5 %, above 2 %


@pytest.mark.parametrize(
    ("change", "qty"),
    [
        ({}, "0.5"),
        ({"liq_price": D(38000)}, None),  # exactly 5 %
        ({"reduces": 2}, "0.5"),
        ({"reduces": 3}, None),
        ({"hold_until": NOW}, "0.5"),
        ({"hold_until": NOW + 1}, None),
        ({"reduce_ts": NOW - 29_999}, None),
        ({"reduce_ts": NOW - 30_000}, "0.5"),
        ({"qty": D("0.0004")}, None),
    ],
)
def test_near_liquidation_a_part_of_it_goes(change: dict[str, Any], qty: str | None) -> None:
    action = closing.downgrade(context(position(**{**NEAR, **change}), fut={"risk": {"lb_exit": "0.02"}}))
    wanted = Action("RISK_DOWNGRADE", "LIQUIDATION_BUFFER", qty=D(qty)) if qty else None
    assert action == wanted


def test_while_an_order_works_nothing_is_reduced() -> None:
    working = Order("TP-1", "i", "TP", "SELL", "MARKET", D("0.1"), "NEW", NOW, 1, True)
    assert closing.downgrade(context(position(orders=(working,), **NEAR))) is None
    assert closing.downgrade(context(spot(position(**NEAR)))) is None
