"""Ticks at round values and times, and figures as people read them."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s6.replay.axes import tick_label, time_ticks, value_ticks
from s6.replay.text import clock, duration, moment, money, number, percent


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 10))
def test_value_ticks_are_few_and_within(low: float, span: float, most: int) -> None:
    ticks = value_ticks(low, low + span, most)
    slack = span * 1e-6 + 4 * math.ulp(abs(low) + span)
    assert len(ticks) <= most + 1
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    assert ticks == sorted(set(ticks))


@given(st.integers(0, 2**42), st.integers(1, 2**41))
def test_time_ticks_are_few_and_within(start: int, span: int) -> None:
    ticks = time_ticks(start, start + span)
    assert all(start <= ts <= start + span for ts, _ in ticks)
    assert len(ticks) <= 9 or span > 8 * 364 * 86_400_000


def test_labels_tell_ticks_apart() -> None:
    assert [tick_label(v, [0.0, 0.025, 0.05]) for v in (0.0, 0.025, 0.05)] == ["0", "0.025", "0.050"]
    assert tick_label(41250.0, [41000.0, 41250.0]) == "41 250"
    assert tick_label(-2.5, [-2.5, 0.0]) == "−2.5"
    assert value_ticks(5.0, 5.0) == [5.0]


def test_times_are_told_as_far_as_they_differ() -> None:
    day = 86_400_000
    assert [label for _, label in time_ticks(0, day)] == [
        "01 Jan",
        "03:00",
        "06:00",
        "09:00",
        "12:00",
        "15:00",
        "18:00",
        "21:00",
        "02 Jan",
    ]
    assert time_ticks(0, 40)[1] == (10, "00:00:00.010")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (number(Decimal("41250.50")), "41 250.5"),
        (number(Decimal("-0.0000000001")), "0"),
        (number(Decimal("-1234567.125"), 2), "−1 234 567.12"),
        (number(None), "–"),
        (money(Decimal("12.5")), "+12.50"),
        (money(Decimal("-1234.567")), "−1 234.57"),
        (money(Decimal("0.001")), "0.00"),
        (money(Decimal("3"), signed=False), "3.00"),
        (percent(Decimal("0.1234")), "+12.3 %"),
        (percent(Decimal("-0.00001")), "0.0 %"),
        (duration(250), "0.25 s"),
        (duration(61_000), "1 min 1 s"),
        (duration(3_600_000), "1 h"),
        (duration(90_000_000), "1 d 1 h"),
        (clock(1_700_000_000_123), "22:13:20.123"),
        (moment(0), "1970-01-01 00:00:00.000"),
    ],
)
def test_figures_for_people(shown: str, text: str) -> None:
    assert shown == text
