"""What is read off a tick, and off the extremes since the last look."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.market import Extremes, Tick

BOTH = Extremes(D(11), 7, D(9), 5)


@pytest.mark.parametrize(("side", "best", "worst"), [("LONG", (D(11), 7), (D(9), 5)), ("SHORT", (D(9), 5), (D(11), 7))])
def test_the_best_and_the_worst_depend_on_the_side(side: Any, best: object, worst: object) -> None:
    assert (BOTH.best(side), BOTH.worst(side), BOTH.ts) == (best, worst, 7)


@pytest.mark.parametrize(
    ("bid", "ask", "mid"), [("99", "100", "99.5"), ("0", "100", None), ("99", "0", None), ("98.5", "100", "99.25")]
)
def test_a_book_with_both_sides_has_a_mid(bid: str, ask: str, mid: str | None) -> None:
    assert Tick(1, D(100), D(bid), D(ask)).mid == (D(mid) if mid else None)


def test_a_book_that_is_torn_apart_has_none() -> None:
    assert Tick(1, D(100), D(90), D(110)).mid is None
