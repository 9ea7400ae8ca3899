"""The trigger index asks for a position exactly when its plan could change."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6 import rules
from s6.model.market import Features
from s6.plan import build_plan
from s6.plan.triggers import triggers
from tests.unit.given import NOW, bundle, position, stopped, view

RULES = bundle(
    fut={
        "stop": {"anchor": "BEST", "lock_steps": [{"roe": 0.5, "lock_roe": 0.2}]},
        "tp_ladder": [{"roe": 0.8, "fraction": 0.33}],
        "add_on": {"roe_gate": 0.3},
    }
)
FEATURES = Features(ts=NOW, atr=D(200), regime="NORMAL")


def test_every_price_that_matters_is_there() -> None:
    prices = triggers(stopped(39600), RULES, FEATURES)
    assert {D(39600), D(42000), D(43200), D(41200), D("40000.1")} <= prices  # stop, step, rung, gate, trail
    assert any(D(37800) < price < D(38000) for price in prices)  # liquidation buffer of 5 %


def test_the_trail_trigger_is_the_first_mark_that_moves_the_stop() -> None:
    held = stopped(39600)
    assert build_plan(held, view("40000.1", atr=200), RULES, "NORMAL", NOW).actions[0].new == D("39600.1")
    assert build_plan(held, view(40000, atr=200), RULES, "NORMAL", NOW).actions == ()


def test_nothing_to_cross_for_what_is_closed_or_unknown() -> None:
    assert triggers(stopped(39600, status="CLOSED"), RULES, FEATURES) == set()
    assert triggers(position(symbol="XUSDT"), RULES, FEATURES) == set()


def test_both_buffers_are_there_for_either_side() -> None:
    """Below the lower one everything goes: an exit that waited for the sweep would come too late."""
    long = triggers(stopped(39600), RULES, FEATURES)
    assert rules.mark_at_buffer(side="LONG", liq_price=D(36000), buffer=D("0.05")) in long
    assert rules.mark_at_buffer(side="LONG", liq_price=D(36000), buffer=D("0.02")) in long
    short = triggers(stopped(40400, side="SHORT"), RULES, FEATURES)
    assert {rules.mark_at_buffer(side="SHORT", liq_price=D(44000), buffer=b) for b in (D("0.05"), D("0.02"))} <= short


@pytest.mark.parametrize(("side", "liq"), [("LONG", 36000), ("SHORT", 44000)])
@pytest.mark.parametrize(("buffer", "kind"), [("0.05", "RISK_DOWNGRADE"), ("0.02", "EXIT")])
def test_at_its_trigger_a_buffer_is_just_not_reached_and_just_beyond_it_is(
    side: Any, liq: int, buffer: str, kind: str
) -> None:
    held = stopped(39600 if side == "LONG" else 40400, side=side)
    at = rules.mark_at_buffer(side=side, liq_price=D(liq), buffer=D(buffer))
    assert at is not None and at in triggers(held, RULES, FEATURES)
    beyond = str(at - held.dir * D("0.01"))
    assert kind in [
        a.type for a in build_plan(replace(held, sl_price=None), view(beyond), RULES, "NORMAL", NOW).actions
    ]


def test_a_position_without_liquidation_has_no_buffers() -> None:
    held = stopped(39600, liq_price=D(0))
    risky = triggers(stopped(39600), RULES, FEATURES) - triggers(held, RULES, FEATURES)
    assert len(risky) == 2


def test_spot_has_its_own_ladder_and_guard() -> None:
    spot = {"tp_ladder": [{"roe": 0.1, "fraction": 0.5}], "guard": {"lock_steps": [{"roe": 0.2, "lock_roe": 0.1}]}}
    held = position(market="SPOT", isolated_margin_usdt=D(40000), liq_price=D(0), sl_price=D(38000))
    assert triggers(held, bundle(spot=spot), FEATURES) == {D(38000), D(39600), D(44000), D(48000)}


def test_a_stop_that_stands_by_the_entry_has_no_trail() -> None:
    assert D("40000.1") not in triggers(stopped(39600), bundle(), FEATURES)


def test_the_trail_of_a_short_and_without_an_atr() -> None:
    rules_ = bundle(fut={"stop": {"anchor": "BEST", "min_move_bps": 10, "fallback_pct": "0.02"}})
    assert D("39999.9") in triggers(stopped(40400, side="SHORT"), RULES, FEATURES)
    bare = Features(ts=NOW, regime="NORMAL")
    assert (D(39200) + D("39.2")) / D("0.98") in triggers(stopped(39200), rules_, bare)
    assert (D(40800) - D("40.8")) / D("1.02") in triggers(stopped(40800, side="SHORT"), rules_, bare)


def test_nothing_is_held_where_nothing_is_at_stake() -> None:
    for held in (stopped(39600, qty=D(0)), stopped(39600, isolated_margin_usdt=D(0))):
        assert triggers(held, RULES, FEATURES) == set()
