"""What a plan says: the order of actions, what forbids what, when a stop may move."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.market import Extremes, Tick
from s6.model.position import Position
from s6.plan import Plan, build_plan
from s6.plan.context import observe
from tests.unit.given import NOW, bundle, position, stopped, view
from tests.unit.losses import FIRST, lost

STEPS = [{"roe": 0.5, "lock_roe": 0.2}, {"roe": 1.0, "lock_roe": 0.6}]
FULL: dict[str, Any] = {
    "fut": {
        "stop": {"lock_steps": STEPS},
        "tp_ladder": [{"roe": 0.8, "fraction": 0.33}],
        "add_on": {"roe_gate": 0.3, "cap": 3, "gamma": 0.5, "eta": 0.8, "signal_ttl_s": 60},
    }
}


def types(plan: Plan) -> list[str]:
    return [action.type for action in plan.actions]


def test_a_position_without_a_stop_gets_its_first() -> None:
    plan = build_plan(position(), view(40000, atr=200), bundle(), "NORMAL", NOW)
    (first,) = plan.actions
    assert (first.type, first.reason, first.old, first.new) == ("STOP_MOVE", "FIRST", None, D(39600))


def test_order_of_actions_and_what_each_carries() -> None:
    market = view(44000, atr=200, signal="LONG", signal_id="s1")
    plan = build_plan(stopped(39600), market, bundle(**FULL), "NORMAL", NOW)
    move, take, add = plan.actions
    assert (move.type, move.reason, move.new, move.level, move.target) == ("STOP_MOVE", "LOCK", D(42400), 2, "SL-1")
    assert (take.type, take.qty, take.rungs) == ("TP_PARTIAL", D("0.33"), (0,))
    assert (add.type, add.qty, add.signal_id) == ("ADD", D("0.5"), "s1")


@pytest.mark.parametrize(
    ("held", "order"),
    [
        ({}, ["CLEANUP", "STOP_MOVE"]),
        ({"sl_failures": 1}, ["CLEANUP", "STOP_MOVE"]),  # the stop that counts protects all of it meanwhile
        ({"qty": D(2)}, ["CLEANUP", "STOP_MOVE"]),
        ({"qty": D(2), "sl_failures": 1}, ["STOP_MOVE", "CLEANUP"]),  # who knows when S4 takes another one
    ],
)
def test_a_stray_goes_before_the_stop_moves_where_no_protection_is_lost(held: dict[str, Any], order: list[str]) -> None:
    p = replace(stopped(39_300), **held)
    stray = replace(p.orders[0], client_order_id="SL-0")
    plan = build_plan(replace(p, orders=(stray, *p.orders)), view(41_000, atr=200), bundle(), "NORMAL", NOW)
    assert types(plan) == order


@pytest.mark.parametrize(
    ("change", "mode"),
    [
        ({}, "RISK_REDUCTION_ONLY"),
        ({"paused": True}, "NORMAL"),
        ({"used_signals": ("s1", "s2")}, "NORMAL"),
        ({"add_on_count": 3}, "NORMAL"),
        ({"added_qty": D("0.8")}, "NORMAL"),
        ({"hold_until": NOW + 1}, "NORMAL"),
        ({"rebuilt_ts": NOW}, "NORMAL"),
    ],
)
def test_no_add(change: dict[str, Any], mode: str) -> None:
    market = view(44000, atr=200, signal="LONG", signal_id="s1")
    plan = build_plan(replace(stopped(43600), **change), market, bundle(**FULL), mode, NOW)
    assert "ADD" not in types(plan)


def test_a_signal_lives_for_its_time() -> None:
    market = view(44000, atr=200, ts=NOW + 61_000, signal="LONG", signal_id="s1")
    assert "ADD" in types(build_plan(stopped(43600), market, bundle(**FULL), "NORMAL", NOW + 60_000))
    assert "ADD" not in types(build_plan(stopped(43600), market, bundle(**FULL), "NORMAL", NOW + 60_001))


def test_near_liquidation_risk_is_cut_and_nothing_added() -> None:
    near = stopped(39600, liq_price=D("42000"), reduces=0)
    market = view(44000, atr=200, signal="LONG", signal_id="s1")
    plan = build_plan(near, market, bundle(**FULL), "NORMAL", NOW)
    assert types(plan)[:2] == ["RISK_DOWNGRADE", "STOP_MOVE"]
    assert "ADD" not in types(plan)
    assert plan.actions[0].qty == D("0.5")


def test_risk_waits_for_its_cooldown_and_ends_at_its_maximum() -> None:
    near = stopped(43500, liq_price=D("42000"))
    market = view(44000)
    waits = replace(near, reduces=1, reduce_ts=NOW - 29_999)
    assert "RISK_DOWNGRADE" not in types(build_plan(waits, market, bundle(), "NORMAL", NOW))
    assert "RISK_DOWNGRADE" in types(build_plan(waits, market, bundle(), "NORMAL", NOW + 1))
    assert "RISK_DOWNGRADE" not in types(build_plan(replace(near, reduces=3), market, bundle(), "NORMAL", NOW))


def test_below_lb_exit_everything_goes_alone_even_when_paused() -> None:
    near = stopped(39000, liq_price=D("39500"), paused=True)
    (leave,) = build_plan(near, view(40000), bundle(), "NORMAL", NOW).actions
    assert (leave.type, leave.reason, leave.qty) == ("EXIT", "LIQUIDATION_BUFFER", D(1))


def test_passed_without_a_live_stop_leaves_at_once_with_one_after_the_grace() -> None:
    (leave,) = build_plan(position(sl_price=D(39600)), view(39500), bundle(), "NORMAL", NOW).actions
    assert (leave.type, leave.reason) == ("EXIT", "STOP_PASSED")
    waiting = build_plan(stopped(39600), view(39500), bundle(), "NORMAL", NOW)
    assert waiting.actions == ()
    assert waiting.recheck_ms == 2000
    (late,) = build_plan(waiting.position, view(39500), bundle(), "NORMAL", NOW + 2000).actions
    assert (late.type, late.reason) == ("EXIT", "STOP_BREACHED")


def test_an_exit_leaves_room_for_what_already_closes() -> None:
    from s6.model.position import Order

    working = Order("TP-1", "i", "TP", "SELL", "MARKET", D("0.4"), "PARTIALLY_FILLED", NOW, 1, True, filled=D("0.1"))
    foreign = Order("X-1", "", "EXIT", "SELL", "LIMIT", D(1), "NEW", NOW, 1, False)
    plan = build_plan(position(exit_reason="OPERATOR", orders=(working, foreign)), view(40000), bundle(), "NORMAL", NOW)
    assert plan.actions[0].qty == D("0.7")


def test_a_stop_is_resized_though_its_price_stays() -> None:
    (move,) = build_plan(stopped(39600, sl_qty=D("0.5")), view(40000, atr=200), bundle(), "NORMAL", NOW).actions
    assert (move.reason, move.old, move.new, move.qty) == ("RESIZE", D(39600), D(39600), D(1))


def test_small_and_early_moves_of_the_price_alone_are_not_made() -> None:
    rules = bundle(fut={"stop": {"anchor": "BEST", "min_move_bps": 10, "min_interval_s": 5, "lock_steps": STEPS}})
    trailing = stopped(39600)
    assert build_plan(trailing, view(40030, atr=200), rules, "NORMAL", NOW + 5000).actions == ()
    early = build_plan(trailing, view(40100, atr=200), rules, "NORMAL", NOW + 4000)
    assert (early.actions, early.recheck_ms) == ((), 1000)
    (move,) = build_plan(trailing, view(40100, atr=200), rules, "NORMAL", NOW + 5000).actions
    assert (move.reason, move.new) == ("TRAIL", D(39700))
    (locked,) = build_plan(trailing, view(42000, atr=9000), rules, "NORMAL", NOW).actions
    assert (locked.reason, locked.new) == ("LOCK", D(40800))


def test_too_small_for_s4_means_guarded_by_s6_and_a_live_stop_stays() -> None:
    tiny = {
        "symbols": {"BTCUSDT": {"tick": "0.1", "step": "0.001", "min_qty": "2", "min_notional": "5", "mmr": "0.004"}}
    }
    (first,) = build_plan(position(), view(40000, atr=200), bundle(**tiny), "NORMAL", NOW).actions
    assert (first.type, first.guard) == ("STOP_MOVE", True)
    held = build_plan(stopped(39600, sl_qty=D(3)), view(40000, atr=200), bundle(**tiny), "NORMAL", NOW)
    assert held.actions == ()


def test_a_guard_is_crossed_by_a_tick_that_has_come_and_gone() -> None:
    held = position(market="SPOT", sl_price=D(39000), sl_ts=NOW, liq_price=D(0), isolated_margin_usdt=D(40000))
    low = Extremes(D(40000), NOW + 5, D(38999), NOW + 5)
    (leave,) = build_plan(held, view(40000, extremes=low), bundle(), "NORMAL", NOW + 10).actions
    assert (leave.type, leave.reason, leave.guard) == ("EXIT", "GUARD", True)
    before = Extremes(D(40000), NOW + 5, D(38999), NOW - 5)
    assert "EXIT" not in types(build_plan(held, view(40000, extremes=before), bundle(), "NORMAL", NOW + 10))


def test_a_lock_step_reached_by_a_tick_that_has_gone_still_locks() -> None:
    peak = Extremes(D(42000), NOW + 5, D(41000), NOW + 5)
    rules = bundle(fut={"stop": {"lock_steps": STEPS}})
    (move,) = build_plan(stopped(39600), view(41900, atr=200, extremes=peak), rules, "NORMAL", NOW + 10).actions
    assert (move.reason, move.new, move.level) == ("LOCK", D(40800), 1)


def test_after_a_refusal_the_old_price_after_two_the_exit() -> None:
    once = position(sl_price=D(39600), sl_fallback=D(39500), sl_refusals=1)
    assert build_plan(once, view(40000, atr=200), bundle(), "NORMAL", NOW).actions[0].new == D(39500)
    (leave,) = build_plan(replace(once, sl_refusals=2), view(40000), bundle(), "NORMAL", NOW).actions
    assert (leave.type, leave.fatal) == ("EXIT", True)


def test_a_closed_position_takes_its_orders_along() -> None:
    closed = stopped(39600, status="CLOSED", qty=D(0))
    (clean,) = build_plan(closed, view(40000), bundle(), "NORMAL", NOW).actions
    assert (clean.type, clean.target) == ("CLEANUP", "SL-1")


def test_stagnation_is_told_once_until_a_new_best() -> None:
    rules = bundle(fut={"stagnation": {"after_s": 60, "abs_roe_below": 0.05}})
    quiet = stopped(39900, best_ts=NOW - 60_000)
    plan = build_plan(quiet, view(40010), rules, "NORMAL", NOW)
    assert types(plan) == []  # a new best woke it
    plan = build_plan(quiet, view(39990), rules, "NORMAL", NOW)
    assert types(plan) == ["STAGNATED"]
    assert types(build_plan(replace(quiet, stagnated=True), view(39990), rules, "NORMAL", NOW)) == []


def test_an_unknown_symbol_is_kept_and_not_governed() -> None:
    assert build_plan(position(symbol="XUSDT"), view(1), bundle(), "NORMAL", NOW).actions == ()


def test_when_the_stream_has_died_the_mid_stands_for_the_mark() -> None:
    from s6.model.market import MarketView, Tick

    dead = MarketView("BTCUSDT", Tick(NOW - 5001, D(41000), D(40000), D(40200)))
    assert build_plan(stopped(39600), dead, bundle(), "NORMAL", NOW).position.mark == D(40100)


def test_the_liquidation_price_of_a_symbol_that_is_named_later_is_computed_then() -> None:
    unnamed = position(liq_price=D(0), bundle_version="")
    plan = build_plan(unnamed, view(36200), bundle(), "NORMAL", NOW)
    assert plan.position.liq_price == pytest.approx(D(36000) / D("0.996"))
    assert types(plan) == ["EXIT"]
    never = position(liq_price=D(0), bundle_version="b-1")
    assert build_plan(never, view(36200), bundle(), "NORMAL", NOW).position.liq_price == 0


@pytest.mark.parametrize(("side", "old", "new"), [("LONG", "39000.3", "39001"), ("SHORT", "41000.3", "41000")])
def test_a_stop_from_before_the_tick_changed_is_put_on_it_without_giving_way(side: str, old: str, new: str) -> None:
    spec = {"tick": "1", "step": "0.001", "min_qty": "0.001", "min_notional": "5", "mmr": "0.004"}
    held = stopped(old, side=side, qty=D("0.5"), sl_qty=D(1), bundle_version="b-0")
    (move,) = build_plan(held, view(40000, atr=900), bundle(symbols={"BTCUSDT": spec}), "NORMAL", NOW).actions
    assert (move.reason, move.new, move.qty) == ("RESIZE", D(new), D("0.5"))


@pytest.mark.parametrize(
    "held",
    [
        lost(),
        lost(exit_reason="OPERATOR"),
        lost(39_990, mark=D(39_000)),
        position(unverified_from=FIRST),
        position(unverified_from=FIRST, market="SPOT", sl_price=D(50_000)),
        lost(status="CLOSED", qty=D(0)),
    ],
    ids=["stopped", "leaving", "breached", "naked", "guarded", "closed"],
)
def test_an_unverified_position_gets_no_action(held: Position) -> None:
    assert build_plan(held, view(40_000), bundle(), "NORMAL", NOW).actions == ()
    verified = build_plan(replace(held, unverified_from=0), view(50_000, atr=1), bundle(), "NORMAL", NOW + 10_000)
    assert verified.actions


def test_a_book_that_is_empty_or_torn_apart_has_no_mid() -> None:
    torn = replace(view(40000, ts=NOW - 60_000), tick=Tick(NOW - 60_000, D(40000), D("0.1"), D(40001)))
    assert observe(position(), torn, bundle(), NOW).mark == 40000
    empty = replace(torn, tick=Tick(NOW - 60_000, D(40000), D(0), D(39000)))
    assert observe(position(), empty, bundle(), NOW).mark == 40000
    assert build_plan(stopped(39200), torn, bundle(), "RISK_REDUCTION_ONLY", NOW).actions == ()  # the stop stays
