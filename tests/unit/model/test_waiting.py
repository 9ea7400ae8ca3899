from __future__ import annotations

import pytest

from s6.model.waiting import APART_MS, in_force_since, is_over, left_ms

NOW = 1_700_000_000_000
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("at", "left"),
    [
        (NOW - 1, 0),
        (NOW, 0),
        (NOW + 1, 1),
        (NOW + 30_000, 30_000),
        (NOW + 60_000, 60_000),
        (NOW + 60_000 + APART_MS, 60_000),  # another host wrote it: not early, and no longer than was meant
        (NOW + 60_001 + APART_MS, 0),
        (NOW + HOUR, 0),
    ],
)
def test_left(at: int, left: int) -> None:
    assert left_ms(at, NOW, 60_000) == left


@pytest.mark.parametrize(("at", "since"), [(NOW - 9, NOW - 9), (NOW + 5_000, NOW + 5_000), (NOW + 5_001, 0), (0, 0)])
def test_what_was_noted_before_the_clock_was_set_back_is_in_force(at: int, since: int) -> None:
    assert in_force_since(at, NOW) == since


def test_a_wait_ends_in_time_or_when_the_clock_is_set_back() -> None:
    assert not is_over(NOW, 1_000, NOW)
    assert not is_over(NOW, 1_000, NOW + 999)
    assert is_over(NOW, 1_000, NOW + 1_000)
    assert not is_over(NOW, 1_000, NOW - APART_MS)
    assert is_over(NOW, 1_000, NOW - HOUR)
