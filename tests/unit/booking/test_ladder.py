"""Which rungs count as done under whatever ladder is in force."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from s6.booking.ladder import highest, rungs_done

LADDER = '[{"roe":0.5,"fraction":0.5},{"roe":1,"fraction":0.5}]'


@pytest.mark.parametrize(
    ("taken", "done"), [(None, ()), ("0.49", ()), ("0.5", (0,)), ("0.99", (0,)), ("1", (0, 1)), ("9", (0, 1))]
)
def test_rungs_at_or_below_the_highest_roe_taken_are_done(taken: str | None, done: tuple[int, ...]) -> None:
    assert rungs_done(LADDER, D(taken) if taken else None) == done
    assert rungs_done("", D(9)) == ()


def test_the_highest_among_rungs_that_the_ladder_has() -> None:
    assert highest(LADDER, (0, 1)) == highest(LADDER, (1,)) == highest(LADDER, (1, 7)) == D(1)
    assert highest(LADDER, (0,)) == D("0.5")
    assert highest(LADDER, ()) is highest(LADDER, (2,)) is highest("", (0,)) is None
