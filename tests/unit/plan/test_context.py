"""A position is looked at by the newest mark, and remembers its best."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.market import Extremes, MarketView, Tick
from s6.plan.context import best_of, observe
from tests.unit.given import NOW, bundle, position, stopped, view


def tick(age_ms: int, *, mark: int = 41000, bid: int = 40000, ask: int = 40200) -> MarketView:
    return MarketView("BTCUSDT", Tick(NOW - age_ms, D(mark), D(bid), D(ask)))


@pytest.mark.parametrize(("age_ms", "mark"), [(0, 41000), (5_000, 41000), (5_001, 40100)])
def test_once_the_stream_has_died_the_mid_stands_for_the_mark(age_ms: int, mark: int) -> None:
    assert observe(stopped(39600), tick(age_ms), bundle(), NOW).mark == D(mark)


def test_without_a_tick_the_last_mark_stands() -> None:
    seen = observe(stopped(39600, mark=D(40500)), MarketView("BTCUSDT"), bundle(), NOW)
    assert (seen.mark, seen.unrealized_pnl_usdt, seen.roe) == (D(40500), D(500), D("0.125"))


@pytest.mark.parametrize(("side", "better", "worse"), [("LONG", 40010, 39990), ("SHORT", 39990, 40010)])
def test_the_best_mark_moves_one_way(side: Any, better: int, worse: int) -> None:
    held = position(side=side)
    assert observe(held, view(better), bundle(), NOW + 7).best_mark == D(better)
    assert observe(held, view(worse), bundle(), NOW + 7).best_mark == D(40000)


def test_a_new_best_roe_is_timed_and_ends_stagnation() -> None:
    held = position(stagnated=True, best_roe=D("0.01"))
    equal = observe(held, view(40040), bundle(), NOW + 7)
    assert (equal.best_roe, equal.best_ts, equal.stagnated) == (D("0.01"), NOW, True)
    above = observe(held, view(40041), bundle(), NOW + 7)
    assert (above.best_roe, above.best_ts, above.stagnated) == (D("0.01025"), NOW + 7, False)


@pytest.mark.parametrize(("side", "best"), [("LONG", 42000), ("SHORT", 38000)])
def test_a_tick_that_has_come_and_gone_counts_for_the_best(side: Any, best: int) -> None:
    both = Extremes(D(42000), NOW, D(38000), NOW)
    held = position(side=side)
    assert best_of(view(40000, extremes=both), held) == D(best)
    assert observe(held, view(40000, extremes=both), bundle(), NOW).best_mark == D(best)
    assert best_of(view(40000, extremes=both), replace(held, entry_ts=NOW + 1)) is None
    assert best_of(view(40000), held) is None


def test_a_closed_position_has_no_best() -> None:
    for held in (position(status="CLOSED"), position(qty=D(0))):
        assert observe(held, view(42000), bundle(), NOW).best_mark == D(40000)
