"""A position's agenda names every mark and every time at which its plan changes."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from s6.engine.sweep import _worth_writing
from s6.model.market import Features, MarketView, Tick
from s6.plan import build_plan
from s6.plan.agenda import Agenda, agenda
from tests.unit.given import NOW, bundle, position, stopped, view

RULES = bundle(
    fut={
        "stop": {
            "anchor": "BEST",
            "min_move_bps": 5,
            "min_interval_s": 7,
            "lock_steps": [{"roe": 0.1, "lock_roe": 0.02}, {"roe": 0.5, "lock_roe": 0.2}],
        },
        "tp_ladder": [{"roe": 0.3, "fraction": 0.33}, {"roe": 0.8, "fraction": 0.33}],
        "add_on": {"roe_gate": 0.15},
        "stagnation": {"after_s": 300, "abs_roe_below": 0.05},
    },
    spot={"tp_ladder": [{"roe": 0.1, "fraction": 0.5}], "guard": {"lock_steps": [{"roe": 0.05, "lock_roe": 0.01}]}},
)
BY_ENTRY = bundle(fut={"tp_ladder": [{"roe": 0.3, "fraction": 0.5}], "stagnation": {"after_s": 20}})


def test_the_nearest_on_either_side() -> None:
    held = stopped(39600, sl_level=0)
    plan = build_plan(held, view(40000), BY_ENTRY, "NORMAL", NOW)
    assert plan.actions == ()
    assert agenda(plan, view(40000), BY_ENTRY, NOW) == Agenda(D(39600), D(41200), NOW + 20_000)


def due(held: Any, mark: int, **market: Any) -> int | None:
    seen = view(mark, **market)
    plan = build_plan(held, seen, RULES, "NORMAL", NOW)
    found = agenda(plan, seen, RULES, NOW).due
    return None if found is None else found - NOW


def test_what_falls_due_first() -> None:
    old: dict[str, Any] = {"best_ts": NOW - 100_000, "sl_ts": NOW - 100_000, "bundle_version": "b-1"}
    assert due(stopped(39600, **old), 39700) == 200_000  # it stagnates then
    assert due(stopped(39600, **old, hold_until=NOW + 900), 39700) == 900
    assert due(stopped(37000, **old, reduce_ts=NOW - 28_000), 37500) == 2_000  # the cooldown ends
    assert due(stopped(39600, **old, add_on_count=3, tp_done=(0,)), 41_200, signal="LONG", signal_id="s") == 10_000


marks = st.integers(37_000, 46_000).map(D) | st.integers(399_000, 420_000).map(lambda n: D(n) / 10)
ages = st.sampled_from([0, 1, 999, 5_000, 9_999, 20_000, 60_000, 299_999, 400_000])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Any, MarketView, Any]:
    side = draw(st.sampled_from(["LONG", "SHORT"]))
    market = draw(st.sampled_from(["FUT", "FUT", "SPOT"])) if side == "LONG" else "FUT"
    qty = draw(st.sampled_from([D("0.001"), D("0.012"), D(1)]))
    mark, best = draw(marks), draw(marks)
    stop = D(draw(st.integers(36_500, 39_950))) if side == "LONG" else D(draw(st.integers(40_050, 43_500)))
    common: dict[str, Any] = {
        "side": side, "market": market, "qty": qty, "q0": qty,
        "isolated_margin_usdt": qty * (4000 if market == "FUT" else 40_000),
        "leverage": D(10) if market == "FUT" else D(1),
        "mark": mark, "best_mark": best,
        "best_ts": NOW - draw(ages), "opened_ts": NOW - 500_000, "entry_ts": NOW - 500_000,
        "sl_ts": NOW - draw(ages), "stagnated": draw(st.booleans()),
        "paused": draw(st.sampled_from([False, False, True])),
        "reduces": draw(st.integers(0, 3)), "reduce_ts": NOW - draw(ages),
        "add_on_count": draw(st.integers(0, 3)),
        "hold_until": NOW + draw(st.sampled_from([0, 0, 3_000, -5])),
        "trail_not_before": NOW + draw(st.sampled_from([0, 0, 4_000])),
        "sl_not_before": NOW + draw(st.sampled_from([0, 0, 2_000])),
    }  # fmt: skip
    if market == "SPOT":
        held = position(**common, liq_price=D(0), sl_price=stop, sl_level=0)
    elif draw(st.integers(0, 9)) == 0:
        held = position(**common)
    else:
        held = stopped(str(stop), **common)
        held = replace(held, orders=tuple(replace(o, side="SELL" if side == "LONG" else "BUY") for o in held.orders))
    features = Features(
        ts=NOW, atr=draw(st.sampled_from([D(0), D(50), D(300)])), regime="NORMAL",
        signal=draw(st.sampled_from(["", "LONG", "SHORT"])), signal_id=draw(st.sampled_from(["", "s1"])),
        signal_ts=NOW - draw(ages),
    )  # fmt: skip
    return held, MarketView("BTCUSDT", Tick(NOW, mark, mark, mark), features), draw(st.sampled_from([RULES, BY_ENTRY]))


@settings(max_examples=400, deadline=None)
@given(situation=situations(), data=st.data())
def test_between_its_marks_and_before_its_time_nothing_changes(situation: Any, data: st.DataObject) -> None:
    held, seen, rules = situation
    mode = data.draw(st.sampled_from(["NORMAL", "RISK_REDUCTION_ONLY"]))
    for _ in range(6):  # what S6 holds itself is done at once
        plan = build_plan(held, seen, rules, mode, NOW)
        held = plan.position
        if any(a.type == "STAGNATED" for a in plan.actions):
            held = replace(held, stagnated=True)
    assume(not plan.actions)
    found = agenda(plan, seen, rules, NOW)
    mark = held.mark
    low = found.below if found.below is not None else D(1)
    high = found.above if found.above is not None else D(100_000)
    assert low <= mark <= high
    share = D(data.draw(st.integers(0, 1000))) / 1000
    then = (low + (high - low) * share).quantize(D("0.01"))
    assume(low < then < high or then == mark)
    last = 700_000 if found.due is None else found.due - NOW - 1
    assert last >= 0
    later = NOW + min(data.draw(st.sampled_from([0, 1, 900, 5_000, 9_990, 59_000, 299_000, 600_000])), last)
    there = replace(seen, tick=Tick(later, then, then, then))
    again = build_plan(held, there, rules, mode, later)
    assert again.actions == (), (found, mark, then, later - NOW)
    assert not _worth_writing(held, again.position, later), _differences(held, again.position)


def _differences(one: Any, other: Any) -> dict[str, Any]:
    names = ("breach_ts", "stagnated", "sl_level", "best_roe", "best_ts", "mark")
    return {name: (getattr(one, name), getattr(other, name)) for name in names}
