"""Where the stop belongs, whether it moves there now, and which stops are too many."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.market import Extremes
from s6.model.position import Order
from s6.plan import stop
from s6.plan.action import Action
from s6.plan.context import PlanContext
from tests.unit.given import NOW, SPEC, position, stopped, view
from tests.unit.plan.contexts import context, decided, spot

STEPS = [{"roe": 0.5, "lock_roe": 0.2}]
BEST: dict[str, Any] = {"stop": {"anchor": "BEST", "min_move_bps": 10, "min_interval_s": 5}}


def moved(asked: PlanContext) -> tuple[Action | None, int]:
    return stop.move(asked, decided(asked))


def reason(asked: PlanContext) -> str:
    action, _ = moved(asked)
    return action.reason if action else ""


# --- where --------------------------------------------------------------------------------------------------------


def test_the_stop_hangs_on_the_entry_or_the_best_mark() -> None:
    held = position(best_mark=D(41000))
    market = view(40700, atr=200)
    assert decided(context(held, market)).price == D(39600)
    assert decided(context(held, market, fut={"stop": {"anchor": "BEST"}})).price == D(40600)
    assert decided(context(replace(held, best_mark=D(0)), market, fut=BEST)).price == D(40300)  # by the mark itself


def test_a_peak_that_has_gone_still_locks() -> None:
    peak = Extremes(D(42000), NOW, D(40000), NOW)
    asked = context(stopped(39600), view(41900, atr=900, extremes=peak), fut={"stop": {"lock_steps": STEPS}})
    assert decided(asked) == (D(40800), 1, False)


@pytest.mark.parametrize(("change", "ts"), [({"paused": True}, NOW), ({"entry_ts": NOW + 1}, NOW), ({}, NOW - 1)])
def test_a_peak_from_before_the_last_fill_or_in_a_pause_locks_nothing(change: dict[str, Any], ts: int) -> None:
    peak = Extremes(D(42000), ts, D(40000), ts)
    asked = context(stopped(39600, **change), view(41900, atr=900, extremes=peak), fut={"stop": {"lock_steps": STEPS}})
    assert decided(asked).level == 0


def test_of_a_peak_whose_stop_would_be_passed_by_now_the_level_stays() -> None:
    peak = Extremes(D(42000), NOW, D(40000), NOW)
    asked = context(stopped(39600), view(40700, atr=900, extremes=peak), fut={"stop": {"lock_steps": STEPS}})
    assert decided(asked) == (D(39600), 1, False)


def test_a_stop_stays_clear_of_liquidation_on_futures_alone() -> None:
    close = position(liq_price=D(39900))
    asked = context(close, view(40500, atr=900), fut={"stop": {"liq_clearance": "0.005"}, "risk": {"lb_exit": "0.006"}})
    assert decided(asked).price == D("40099.5")
    assert decided(context(replace(spot(close), liq_price=D(39900)), view(40500, atr=900))).price == D(38200)
    assert decided(context(replace(close, liq_price=D(0)), view(40500, atr=900))).price == D(38200)


# --- whether ------------------------------------------------------------------------------------------------------


def test_the_first_one_is_for_the_whole_in_whole_steps() -> None:
    action, wait = moved(context(position(qty=D("1.0007")), view(40000, atr=200)))
    assert action == Action("STOP_MOVE", "FIRST", D("1"), None, D(39600))
    assert wait == 0


def test_one_that_is_gone_is_restored_at_its_price() -> None:
    action, _ = moved(context(position(sl_price=D("39700.1"), sl_level=2), view(40000, atr=200)))
    assert action is not None and (action.reason, action.old, action.new) == ("RESTORE", D("39700.1"), D("39700.1"))


@pytest.mark.parametrize(("qty", "why"), [("1.0009", ""), ("1.001", "RESIZE"), ("0.999", "RESIZE")])
def test_one_for_another_quantity_is_replaced(qty: str, why: str) -> None:
    held = replace(stopped(39600), qty=D(qty))
    assert reason(context(held, view(40000, atr=200))) == why
    assert reason(context(replace(held, paused=True), view(40000, atr=200))) == why  # a pause protects too


@pytest.mark.parametrize(("mark", "why"), [("40039", ""), ("40039.5", ""), ("40039.6", "TRAIL"), ("40100", "TRAIL")])
def test_a_small_move_of_the_price_is_not_made(mark: str, why: str) -> None:
    asked = context(stopped(39600, sl_ts=NOW - 5_000), view(mark, atr=200), fut=BEST)
    assert reason(asked) == why  # ten basis points of 39600 are 39.6


@pytest.mark.parametrize(("age_ms", "wait"), [(5_000, 0), (4_999, 1), (0, 5_000)])
def test_moves_of_the_price_keep_their_distance(age_ms: int, wait: int) -> None:
    action, waits = moved(context(stopped(39600, sl_ts=NOW - age_ms), view(40100, atr=200), fut=BEST))
    assert (action is None, waits) == (wait > 0, wait)


def test_a_lock_waits_for_nothing_but_a_failure() -> None:
    rules: dict[str, Any] = {"fut": {"stop": {"lock_steps": STEPS, "min_interval_s": 5}}}
    action, _ = moved(context(stopped(39600), view(42000, atr=900), **rules))
    assert action is not None and (action.reason, action.new, action.level, action.target) == (
        "LOCK",
        D(40800),
        1,
        "SL-1",
    )
    held = stopped(39600, sl_not_before=NOW + 70)
    assert moved(context(held, view(42000, atr=900), **rules)) == (None, 70)
    assert moved(context(replace(held, paused=True), view(42000, atr=900), **rules)) == (None, 0)


def test_while_it_is_paused_only_its_first_stop_is_placed() -> None:
    assert reason(context(position(paused=True), view(40000, atr=200))) == "FIRST"
    assert reason(context(stopped(39600, paused=True), view(42000, atr=200), fut=BEST)) == ""


def test_after_one_refusal_the_price_before_it_is_tried() -> None:
    held = position(sl_price=D(39600), sl_fallback=D(39500), sl_refusals=1)
    action, _ = moved(context(held, view(40000, atr=200)))
    assert action is not None and action.new == D(39500)
    action, _ = moved(context(replace(held, sl_fallback=None), view(40000, atr=200)))
    assert action is not None and action.new == D(39600)


def test_a_stop_that_was_passed_is_not_moved() -> None:
    assert moved(context(replace(stopped(39600), qty=D(2)), view(39500, atr=200))) == (None, 0)


# --- what S4 would not take ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "guard"),
    [({"min_qty": "1"}, False), ({"min_qty": "1.001"}, True), ({"min_notional": "39600"}, False),
     ({"min_notional": "39600.1"}, True), ({"step": "2"}, True)],
)  # fmt: skip
def test_what_is_too_small_for_s4_is_guarded(spec: dict[str, str], guard: bool) -> None:
    asked = context(position(), view(40000, atr=200), symbols={"BTCUSDT": {**SPEC, **spec}})
    action, _ = moved(asked)
    assert action is not None and action.guard is guard


def test_a_stop_that_has_become_too_small_is_guarded_once_it_is_gone() -> None:
    small: dict[str, Any] = {"symbols": {"BTCUSDT": {**SPEC, "min_qty": "2"}}}
    held = position(sl_price=D(39600))
    action, _ = moved(context(held, view(40000, atr=200), **small))
    assert action is not None and (action.reason, action.guard) == ("TOO_SMALL", True)
    assert moved(context(replace(held, self_guarded=True), view(40000, atr=200), **small)) == (None, 0)
    assert moved(context(stopped(39600), view(42000, atr=200), fut=BEST, **small)) == (None, 0)  # it lives on


def test_a_guard_moves_like_a_stop() -> None:
    held = replace(spot(position()), sl_price=D(38000))
    action, _ = moved(
        context(held, view(44000, atr=200), spot={"guard": {"lock_steps": [{"roe": 0.1, "lock_roe": 0}]}})
    )
    assert action is not None and (action.reason, action.new, action.guard, action.target) == (
        "LOCK",
        D(40000),
        True,
        "",
    )
    assert reason(context(held, view(40000))) == ""
    assert reason(context(replace(held, sl_price=None), view(40000))) == "FIRST"


def test_a_stop_that_s4_holds_unknown_to_the_books_protects_until_the_first_takes_its_place() -> None:
    found = replace(stopped(39600).orders[0], client_order_id="SL-0", stop_px=None)
    held = position(orders=(found,))
    action, _ = moved(context(held))
    assert action is not None and (action.reason, action.target) == ("FIRST", "SL-0")
    former, _ = moved(context(replace(held, life=2)))
    assert former is not None and (former.reason, former.target) == ("FIRST", "")


# --- too many -----------------------------------------------------------------------------------------------------


def test_every_other_stop_of_ours_is_a_stray() -> None:
    held = stopped(39600)
    more = [replace(held.orders[0], client_order_id=name) for name in ("SL-0", "SL-2")]
    theirs = replace(held.orders[0], client_order_id="X", ours=False)
    take = Order("TP-1", "i", "TP", "SELL", "MARKET", D(1), "NEW", NOW, 1, True)
    p = replace(held, orders=(*more, *held.orders, theirs, take))
    assert stop.strays(p, NOW) == [Action("CLEANUP", "STRAY_STOP", target=name) for name in ("SL-0", "SL-2")]
    assert stop.strays(replace(p, sl_not_before=NOW + 1), NOW) == []
    assert len(stop.strays(replace(p, sl_not_before=NOW), NOW)) == 2
