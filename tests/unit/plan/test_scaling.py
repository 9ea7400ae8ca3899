"""Profits taken rung by rung, adds made on a signal, positions that do neither."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.position import Order
from s6.plan import scaling
from s6.plan.context import PlanContext
from tests.unit.given import NOW, position, stopped, view
from tests.unit.plan.contexts import context, spot

LADDER = {"tp_ladder": [{"roe": 0.1, "fraction": 0.5}, {"roe": 0.3, "fraction": 0.5}]}
ADDS = {"add_on": {"roe_gate": 0.05, "cap": 2, "gamma": 0.5, "eta": 0.8, "signal_ttl_s": 60}}
SIGNAL: dict[str, Any] = {"signal": "LONG", "signal_id": "s1"}


# --- profits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mark", "taken", "qty", "rungs", "roe"),
    [(40399, None, None, None, None), (40400, None, "0.5", (0,), "0.1"), (41200, None, "0.75", (0, 1), "0.3"),
     (41200, "0.1", "0.5", (1,), "0.3"), (41200, "0.3", None, None, None)],
)  # fmt: skip
def test_each_rung_is_taken_once_when_its_roe_is_reached(
    mark: int, taken: str | None, qty: str | None, rungs: object, roe: str | None
) -> None:
    action = scaling.take_profit(context(stopped(39600, tp_roe=D(taken) if taken else None), mark, fut=LADDER))
    if qty is None or roe is None:
        assert action is None
        return
    assert action is not None and (action.type, action.reason) == ("TP_PARTIAL", "RUNG")
    assert (action.qty, action.rungs, action.rung_roe) == (D(qty), rungs, D(roe))


def test_spot_has_a_ladder_of_its_own() -> None:
    held = spot(stopped(38000))
    action = scaling.take_profit(context(held, 44000, spot=LADDER))
    assert action is not None and action.rungs == (0,)
    assert scaling.take_profit(context(held, 44000, fut=LADDER)) is None


# --- adds ---------------------------------------------------------------------------------------------------------


def adding(change: dict[str, Any] | None = None, **asked: Any) -> PlanContext:
    market = asked.pop("market", view(40400, **SIGNAL))
    held = {"opened_ts": NOW - 1_000, **(change or {})}
    return context(stopped(39600, **held), market, **{"fut": ADDS, **asked})


def test_an_add_says_how_much_on_which_signal_and_what_it_takes() -> None:
    action = scaling.add(adding())
    assert action is not None and (action.type, action.reason) == ("ADD", "SIGNAL")
    assert (action.qty, action.signal_id, action.margin) == (D("0.5"), "s1", D(2020))
    second = scaling.add(adding({"add_on_count": 1, "added_qty": D("0.5")}))
    assert second is not None and second.qty == D("0.25")


@pytest.mark.parametrize(
    "change",
    [{"used_signals": ("s0", "s1")}, {"rebuilt_ts": NOW}, {"opened_ts": NOW}, {"add_on_count": 2},
     {"added_qty": D("0.8")}, {"side": "SHORT", "liq_price": D(44000)}, {"liq_price": D(39000)}],
)  # fmt: skip
def test_no_add_by_what_the_position_is(change: dict[str, Any]) -> None:
    assert scaling.add(adding(change)) is None


@pytest.mark.parametrize(
    "asked",
    [{"mode": "RISK_REDUCTION_ONLY"}, {"fut": {}}, {"market": view(40199, **SIGNAL)}, {"now": NOW + 60_001},
     {"market": view(40400, signal="LONG", signal_id="")}, {"market": view(40400, signal="NONE", signal_id="s1")},
     {"market": view(40400, signal="SHORT", signal_id="s1")}],
)  # fmt: skip
def test_no_add_by_what_the_market_and_the_rules_say(asked: dict[str, Any]) -> None:
    assert scaling.add(adding(**asked)) is None


def test_a_signal_is_good_to_the_end_of_its_time() -> None:
    assert scaling.add(adding(now=NOW + 60_000, market=view(40400, ts=NOW + 60_000, **SIGNAL))) is not None


def test_nothing_is_added_on_spot() -> None:
    assert scaling.add(context(spot(stopped(38000, opened_ts=NOW - 1)), view(44000, **SIGNAL), fut=ADDS)) is None


# --- both ---------------------------------------------------------------------------------------------------------


def kinds(asked: PlanContext, *, reducing: bool = False) -> list[str]:
    return [action.type for action in scaling.actions(asked, reducing=reducing)]


def both(change: dict[str, Any] | None = None) -> PlanContext:
    return adding(change, fut={**ADDS, **LADDER})


def test_profit_goes_before_the_add_and_a_reduction_forbids_it() -> None:
    assert kinds(both()) == ["TP_PARTIAL", "ADD"]
    assert kinds(both(), reducing=True) == ["TP_PARTIAL"]


def test_nothing_scales_while_it_must_not() -> None:
    working = Order("TP-1", "i", "TP", "SELL", "MARKET", D("0.1"), "NEW", NOW, 1, True)
    theirs = Order("X-1", "", "EXIT", "SELL", "LIMIT", D("0.1"), "NEW", NOW, 1, False)
    assert kinds(both({"paused": True})) == []
    assert kinds(both({"hold_until": NOW + 1})) == []
    assert kinds(both({"orders": (working,), "sl_order": ""})) == []
    assert kinds(both({"hold_until": NOW})) == kinds(both({"orders": (theirs,), "sl_order": ""})) == kinds(both())


# --- neither ------------------------------------------------------------------------------------------------------

QUIET = {"stagnation": {"after_s": 60, "abs_roe_below": "0.05"}}


@pytest.mark.parametrize(
    ("idle_ms", "mark", "told", "stagnates"),
    [(60_000, 40199, False, True), (59_999, 40199, False, False), (60_000, 40200, False, False),
     (60_000, 39801, False, True), (60_000, 39800, False, False), (60_000, 40199, True, False)],
)  # fmt: skip
def test_who_has_no_new_best_for_long_and_moves_little_stagnates(
    idle_ms: int, mark: int, told: bool, stagnates: bool
) -> None:
    held = stopped(39600, best_ts=NOW - idle_ms, best_roe=D(1), stagnated=told)
    assert scaling.stagnates(context(held, mark, fut=QUIET)) is stagnates


def test_who_stagnates_depends_on_its_own_markets_rules() -> None:
    held = spot(position(best_ts=NOW - 60_000, best_roe=D(1)))
    assert scaling.stagnates(context(held, spot=QUIET))
    assert not scaling.stagnates(context(held, spot={"stagnation": {"after_s": 61}}, fut=QUIET))
