"""Decimals as the wire writes them, and the sides of orders."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from s6.model.types import closing_side, opening_side, plain


@pytest.mark.parametrize(
    ("value", "text"),
    [("44000", "44000"), ("4.4E+4", "44000"), ("0.0010", "0.001"), ("1.00", "1"), ("-0", "0"), ("0E-9", "0"),
     ("-0.00", "0"), ("1E-18", "0.000000000000000001"), ("100", "100"), ("-1.50", "-1.5")],
)  # fmt: skip
def test_no_exponent_and_no_trailing_zeros(value: str, text: str) -> None:
    assert plain(D(value)) == text


def test_sides() -> None:
    assert (opening_side("LONG"), closing_side("LONG")) == ("BUY", "SELL")
    assert (opening_side("SHORT"), closing_side("SHORT")) == ("SELL", "BUY")
