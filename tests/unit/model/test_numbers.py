"""Numbers from outside: of a size, or not taken."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from s6.model import jsonx
from s6.model.jsonx import Unread
from s6.model.numbers import Fault, number

TAKEN = ["0", "-0.0", "1", "+5.5", ".5", "5.", "1e18", "1E-18", "-1e18", "0." + "1" * 62]
REFUSED = ["", "1e19", "1.0000000000000000001e18", "1e-19", "9e999999999", "NaN", "Infinity", "1_0", " 1", "１"]
REFUSED += ["1" * 65, "0." + "0" * 63]


@pytest.mark.parametrize("text", TAKEN)
def test_taken(text: str) -> None:
    assert number(text) == D(text)


@pytest.mark.parametrize("value", [*REFUSED, True, 1.5, None, [], D("NaN"), 10**19])
def test_refused(value: object) -> None:
    with pytest.raises(Fault, match="at most 64 characters"):
        number(value)


def test_json_from_outside_keeps_what_it_refuses_apart() -> None:
    read = jsonx.received('{"a": 1e9999999999999999999, "b": [1e18, 1e-19], "c": 7, "d": 10000000000000000000}')
    assert read == {
        "a": Unread("1e9999999999999999999"),
        "b": [D("1e18"), Unread("1e-19")],
        "c": 7,
        "d": Unread("10000000000000000000"),
    }


@pytest.mark.parametrize("text", [b"\xff", "NaN", "[" * 100_000, "9" * 1001, "1." + "0" * 1001])
def test_what_is_no_json(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        jsonx.received(text)
