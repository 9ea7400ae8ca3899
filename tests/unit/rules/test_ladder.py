from decimal import Decimal as D
from typing import Any

import pytest

from s6 import rules
from s6.rules import TpDecision

from .given import rungs

LADDER = rungs(("0.8", "0.33"), ("1.5", "0.5"))
NOTHING = TpDecision(D(0), ())


def decide(roe: str, qty: str = "1", **changes: Any) -> TpDecision:
    arguments: dict[str, Any] = {
        "roe": D(roe),
        "ladder": LADDER,
        "done": (),
        "qty": D(qty),
        "step": D("0.001"),
        "min_qty": D("0.001"),
        "min_notional": D(5),
        "mark": D(40000),
    }
    return rules.tp_ladder_decision(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("roe", "done", "expected"),
    [
        ("0.79999", (), NOTHING),
        ("0.8", (), TpDecision(D("0.33"), (0,))),
        ("1.49", (), TpDecision(D("0.33"), (0,))),
        ("1.5", (), TpDecision(D("0.665"), (0, 1))),  # 0.33 + 0.67/2
        ("1.5", (0,), TpDecision(D("0.5"), (1,))),
        ("1.5", [1], TpDecision(D("0.33"), (0,))),
        ("1.5", {0, 1}, NOTHING),
        ("-1", (), NOTHING),
    ],
)
def test_due_rungs(roe: str, done: Any, expected: TpDecision) -> None:
    assert decide(roe, done=done) == expected


def test_rounded_down_once_at_the_end() -> None:
    twice = rungs(("0.8", "0.34"), ("1.5", "0.34"))
    assert decide("1.5", "0.016", ladder=twice).qty == D("0.009")  # 0.0090304; 0.005 + 0.003 if rounded in between
    assert decide("1.5", "1.9999").qty == D("1.329")  # 1.3299...


def test_a_part_too_small_becomes_the_smallest_valid_one() -> None:
    assert decide("0.8", "0.002").qty == D("0.001")  # 0.00066
    assert decide("0.8", "0.03", min_qty=D("0.0155")).qty == D("0.03")  # 0.016, and of that 0.014 would remain
    assert decide("0.8", "0.04", min_qty=D("0.0155")).qty == D("0.016")  # 0.0132 wanted, 0.024 remain
    assert decide("0.8", "0.04", min_notional=D(600)).qty == D("0.015")  # worth 600 at the mark


def test_all_when_the_smallest_valid_one_is_more_than_there_is() -> None:
    assert decide("0.8", "0.004", min_qty=D("0.01")).qty == D("0.004")


def test_a_remainder_too_small_goes_along() -> None:
    ladder = rungs(("0.8", "0.9"))
    assert decide("0.8", "0.1", ladder=ladder, min_qty=D("0.01")).qty == D("0.09")  # 0.01 remain: enough
    assert decide("0.8", "0.1", ladder=ladder, min_qty=D("0.011")).qty == D("0.1")
    assert decide("0.8", "0.1", ladder=ladder, min_notional=D(400)).qty == D("0.09")
    assert decide("0.8", "0.1", ladder=ladder, min_notional=D("400.01")).qty == D("0.1")


def test_all_of_a_quantity_off_the_step_is_its_whole_steps() -> None:
    all_of_it = rungs(("0.8", "1"))
    assert decide("0.8", "0.0129", ladder=all_of_it) == TpDecision(D("0.012"), (0,))
    assert decide("0.8", "0.0019") == TpDecision(D("0.001"), (0,))


def test_less_than_one_step_is_nothing() -> None:
    assert decide("1.5", "0.00099") == NOTHING


def test_an_empty_ladder() -> None:
    assert decide("9", ladder=()) == NOTHING


def test_arguments_are_left_alone() -> None:
    ladder, done = list(LADDER), [0]
    decide("1.5", ladder=ladder, done=done)
    assert (ladder, done) == (list(LADDER), [0])


def test_a_reduction_is_sized_like_a_rung() -> None:
    lot = {"step": D("0.001"), "min_qty": D("0.001"), "min_notional": D(5), "mark": D(40000)}
    assert rules.reduce_decision(qty=D("0.025"), fraction=D("0.5"), **lot) == D("0.012")
    assert rules.reduce_decision(qty=D("0.001"), fraction=D("0.5"), **lot) == D("0.001")
    assert rules.reduce_decision(qty=D("0.0009"), fraction=D("0.5"), **lot) == 0


@pytest.mark.parametrize(
    ("min_qty", "min_notional", "mark", "expected"),
    [
        ("0", "0", "40000", "0.001"),
        ("0.0011", "0", "40000", "0.002"),
        ("0.001", "40", "40000", "0.001"),
        ("0.001", "40.01", "40000", "0.002"),
        ("0.001", "5", "3", "1.667"),
    ],
)
def test_smallest_valid_qty(min_qty: str, min_notional: str, mark: str, expected: str) -> None:
    found = rules.smallest_valid_qty(step=D("0.001"), min_qty=D(min_qty), min_notional=D(min_notional), mark=D(mark))
    assert found == D(expected)


def test_rounding() -> None:
    assert rules.round_down(D("1.239"), D("0.01")) == D("1.23")
    assert rules.round_up(D("1.231"), D("0.01")) == D("1.24")
    assert rules.round_down(D("-1.231"), D("0.01")) == D("-1.24")
    assert rules.round_up(D("-1.239"), D("0.01")) == D("-1.23")
    assert rules.round_up(D("1.23"), D("0.01")) == rules.round_down(D("1.23"), D("0.01")) == D("1.23")
