"""JSON with exact decimals, ours and what comes from outside."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.jsonx import Unread, dumps, loads, received


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (False, "false"), (7, "7"), (D("0.10"), "0.1"), (D("1E+3"), "1000"),
     ("a\"é", '"a\\"\\u00e9"'), ([1, D(2)], "[1,2]"), ((), "[]"), ({"a": {"b": []}}, '{"a":{"b":[]}}')],
)  # fmt: skip
def test_what_is_written(value: Any, text: str) -> None:
    assert dumps(value) == text


@pytest.mark.parametrize("value", [0.1, {1}, b"x", object(), D("NaN"), D("Infinity"), [1.5]])
def test_what_cannot_be_written_exactly_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_numbers_are_read_by_their_digits() -> None:
    assert loads("[0.10, 1e2, 3]") == [D("0.10"), D("1e2"), 3]
    assert isinstance(loads("3"), int)
    for text in ("NaN", "[Infinity]", "{"):
        with pytest.raises(ValueError, match=r"\w"):
            loads(text)


def test_from_outside_a_number_of_no_size_is_no_number() -> None:
    assert received('{"a": 1.5, "b": 2}') == {"a": D("1.5"), "b": 2}
    assert received("[1e19, 10000000000000000000]") == [Unread("1e19"), Unread("10000000000000000000")]
    assert str(Unread("1e19")) == "1e19"
    assert received("[1]", whole=str) == ["1"]
    assert received('{"a": 1, "a": 2}', members=list) == [("a", 1), ("a", 2)]


@pytest.mark.parametrize("text", ["1." + "0" * 1_000, "9" * 1_001, "[" * 100_000, "NaN"])
def test_from_outside_what_would_hurt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        received(text)


def test_just_short_enough_is_read() -> None:
    assert received("0." + "0" * 998) == Unread("0." + "0" * 998)
