"""The trigger index asks for a position exactly when its plan could change."""

from __future__ import annotations

from decimal import Decimal as D

from s6.listener.index import TriggerIndex
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


def test_the_index_finds_what_lies_between_two_marks() -> None:
    index = TriggerIndex()
    index.put(stopped(39600, position_id="long"), RULES, FEATURES)
    index.put(stopped(40600, position_id="short", side="SHORT"), RULES, FEATURES)
    assert index.crossed("BTCUSDT", None, D(39000)) == set()
    assert index.crossed("BTCUSDT", D(40000), D(39600)) >= {"long"}
    assert index.crossed("BTCUSDT", D(39600), D("39600.05")) == set()  # left, not reached
    assert index.crossed("BTCUSDT", D(40500), D(40600)) == {"short"}
    index.keep_only({"short"})
    assert "long" not in index.crossed("BTCUSDT", D(40000), D(39600))
