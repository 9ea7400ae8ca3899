"""Figures as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from web.panel import words


@pytest.mark.parametrize(
    ("value", "decimals", "shown"),
    [
        (Decimal("43250.50"), 8, "43,250.5"),
        (Decimal("0.123456789"), 6, "0.123457"),
        (Decimal("-0.0000000001"), 6, "0"),
        (Decimal("-1234.5"), 2, "−1,234.5"),
        (Decimal("1e30"), 2, "1,000,000,000,000,000,000,000,000,000,000"),
        (Decimal("0.5000000000000000000000000001"), 8, "0.5"),
        (100, 8, "100"),
        (None, 8, "–"),
        ("", 8, "–"),
        (Decimal("NaN"), 8, "–"),
    ],
)
def test_number(value: object, decimals: int, shown: str) -> None:
    assert words.number(value, decimals) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(1, "100 %"), (0.9999, "99.9 %"), (0.994, "99.4 %"), (0, "0 %"), (None, "–")]
)
def test_a_share_is_whole_only_when_it_is(value: object, shown: str) -> None:
    assert words.share(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [("41146.444118", "41,146.44"), ("98.42505", "98.425"), ("0.00001234", "0.00001234"), (0, "0"), (None, "–")],
)
def test_price(value: object, shown: str) -> None:
    assert words.price(value) == shown


@pytest.mark.parametrize(
    ("ms", "shown"),
    [(-5, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (3_600_000, "1 h 0 min"), (172_800_000, "2 d 0 h")],
)
def test_duration(ms: int, shown: str) -> None:
    assert words.duration(ms) == shown


def test_the_rest() -> None:
    assert words.percent(Decimal("-0.0512")) == "−5.12 %"
    assert words.money(Decimal("1406.666")) == "+1,406.67"
    assert words.seconds(0.236) == "0.24 s"
    assert words.seconds(61.4) == "61 s"
    assert words.millis(Decimal("0.84")) == "0.8 ms"
    assert words.millis(4200) == "4.2 s"
    assert words.clock(1_700_000_000_000) == "22:13:20"
    assert words.moment(1_700_000_000_000) == "2023-11-14 22:13:20"
    assert words.clock(0) == "–"
    assert words.words("STOP_MOVE") == "stop move"
