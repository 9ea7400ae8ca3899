"""Stops by hand: a position of 0.5 at 40000 with a margin of 2000, so a return of 1 is a move of 4000."""

from decimal import Decimal as D
from typing import Any

import pytest

from s6 import rules
from s6.rules import StopDecision

from .given import Lock, locks

STEPS = locks(("0.5", "0.2"), ("1", "0.6"))


def decide(side: str = "LONG", mark: str = "40500", **changes: Any) -> StopDecision:
    arguments: dict[str, Any] = {
        "side": side,
        "entry": D(40000),
        "qty": D("0.5"),
        "margin": D(2000),
        "mark": D(mark),
        "atr": D(300),
        "k": D(2),
        "sl_prev": None,
        "level": 0,
        "lock_steps": STEPS,
        "tick": D("0.5"),
        "fallback_pct": D("0.02"),
    }
    return rules.next_stop_price(**{**arguments, **changes})


def test_the_first_stop_is_the_volatility_distance_away() -> None:
    assert decide("LONG", "40500") == StopDecision(price=D(39400), level=0, passed=False)
    assert decide("SHORT", "39500") == StopDecision(price=D(40600), level=0, passed=False)


@pytest.mark.parametrize("atr", [None, D(0)])
def test_without_volatility_a_part_of_the_price_is_the_distance(atr: D | None) -> None:
    assert decide("LONG", "40500", atr=atr).price == 39200
    assert decide("SHORT", "39500", atr=atr).price == 40800


def test_the_distance_hangs_from_the_anchor() -> None:
    assert decide("LONG", "40500", anchor=D(41000)).price == 40400
    assert decide("SHORT", "39500", anchor=D(39000)).price == 39600
    assert decide("LONG", "40500", anchor=D(41000), atr=None).price == 40180


def test_rounding_leaves_more_room() -> None:
    assert decide("LONG", "40500", atr=D("333.33"), k=D(1)).price == D("39666.5")  # 39666.67
    assert decide("SHORT", "39500", atr=D("333.33"), k=D(1)).price == D("40333.5")  # 40333.33


@pytest.mark.parametrize(
    ("side", "mark", "price", "level"),
    [
        ("LONG", "41999.99", "39400", 0),
        ("LONG", "42000", "40800", 1),
        ("LONG", "43999.99", "40800", 1),
        ("LONG", "44000", "42400", 2),
        ("SHORT", "38000.01", "40600", 0),
        ("SHORT", "38000", "39200", 1),
        ("SHORT", "36000", "37600", 2),
    ],
)
def test_a_reached_step_locks_its_return(side: str, mark: str, price: str, level: int) -> None:
    assert decide(side, mark) == StopDecision(D(price), level, passed=False)


def test_a_lock_may_be_a_loss() -> None:
    assert decide("LONG", "40400", lock_steps=locks(("0.1", "-0.1"))).price == 39600
    assert decide("LONG", "39800", lock_steps=locks(("-0.1", "-0.12"))).price == 39520


def test_a_lock_multiplies_before_it_divides() -> None:
    """A third of 3 is 1, and 101 is on the tick: one rounded quotient too early and the stop is a tick off."""
    whole = {"entry": D(100), "qty": D(3), "margin": D(10), "tick": D("0.1"), "lock_steps": locks(("0.3", "0.3"))}
    assert decide("LONG", "102", **whole).price == D("101.0")
    assert decide("SHORT", "98", **whole).price == D("99.0")
    thirds = {**whole, "lock_steps": locks(("0.1", "0.1"))}
    assert decide("LONG", "102", **thirds).price == D("100.3")  # 100.333...
    assert decide("SHORT", "98", **thirds).price == D("99.7")  # 99.666...


def test_a_step_is_reached_without_dividing() -> None:
    """A profit of 1 on a margin of 3 is a return of a third: above any decimal that begins 0.333 and ends."""
    third = {"entry": D(100), "qty": D(1), "margin": D(3), "tick": D("0.01"), "atr": D(10)}
    below, above = D("0." + "3" * 60), D("0." + "3" * 59 + "4")
    assert decide("LONG", "101", **third, lock_steps=[Lock(below, D("0.1"))]).level == 1
    assert decide("LONG", "101", **third, lock_steps=[Lock(above, D("0.1"))]).level == 0


def test_room_is_kept_to_the_liquidation_price() -> None:
    far = {"atr": D(2500), "tick": D(100), "liq_clearance": D("0.005")}
    assert decide("LONG", "40500", **far).price == 35000
    assert decide("LONG", "40500", **far, liq_price=D(38000)).price == 38200  # 38190, away from liquidation
    assert decide("SHORT", "39500", **far).price == 45000
    assert decide("SHORT", "39500", **far, liq_price=D(42000)).price == 41700  # 41790
    assert decide("LONG", "40500", **far, liq_price=D(0)).price == 35000


def test_a_stop_is_at_least_one_tick() -> None:
    small = {"entry": D(10), "qty": D(1), "margin": D(10), "atr": D(20), "k": D(1), "tick": D(1)}
    assert decide("LONG", "5", **small) == StopDecision(D(1), 0, passed=False)
    assert decide("LONG", "1", **small) == StopDecision(None, 0, passed=True)
    no_room = {"liq_price": D(12), "liq_clearance": D(2), "lock_steps": ()}
    assert decide("SHORT", "5", **small, **no_room).price == 30  # the liquidation candidate, one tick, is no protection


@pytest.mark.parametrize(
    ("side", "mark", "price"),
    [
        ("LONG", "39400.01", "39400"),
        ("LONG", "39400", None),
        ("LONG", "39000", None),
        ("SHORT", "40599.99", "40600"),
        ("SHORT", "40600", None),
        ("SHORT", "41000", None),
    ],
)
def test_a_candidate_at_or_beyond_the_mark_is_none(side: str, mark: str, price: str | None) -> None:
    assert decide(side, mark) == StopDecision(None if price is None else D(price), 0, passed=price is None)


@pytest.mark.parametrize(
    ("side", "mark", "sl_prev", "price", "passed"),
    [
        ("LONG", "40500", "39300", "39400", False),
        ("LONG", "40500", "39900.037", "39900.037", False),
        ("LONG", "40500", "40500", "40500", True),
        ("LONG", "40500", "40600", "40600", True),
        ("LONG", "39000", "38000", "38000", False),
        ("SHORT", "39500", "40700", "40600", False),
        ("SHORT", "39500", "40100.037", "40100.037", False),
        ("SHORT", "39500", "39500", "39500", True),
        ("SHORT", "39500", "39400", "39400", True),
        ("SHORT", "41000", "42000", "42000", False),
    ],
)
def test_the_last_stop_is_never_loosened(side: str, mark: str, sl_prev: str, price: str, passed: bool) -> None:
    assert decide(side, mark, sl_prev=D(sl_prev)) == StopDecision(D(price), 0, passed)


def test_the_last_stop_is_returned_as_it_stands() -> None:
    last = D("3.94E+4")
    assert decide("LONG", "40500", sl_prev=last).price is last


def test_the_level_never_falls() -> None:
    assert decide("LONG", "40500", level=2) == StopDecision(D(39400), 2, passed=False)
    assert decide("LONG", "44000", level=1).level == 2
    assert decide("LONG", "44000", level=5).level == 5


def test_no_steps() -> None:
    assert decide("LONG", "50000", lock_steps=()) == StopDecision(D(39400), 0, passed=False)


def test_arguments_are_left_alone() -> None:
    steps = list(STEPS)
    decide("LONG", "44000", lock_steps=steps)
    assert steps == list(STEPS)
