"""Documents as JSON text: what goes in comes out, digit by digit."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s6.store.arango_documents import as_doubles, key_of
from s6.store.documents import dumps, loads

decimals = st.decimals(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | decimals.filter(lambda number: str(number) != "-0") | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_goes_in_comes_out(value: object) -> None:
    text = dumps(value)
    json.loads(text)
    assert loads(text) == value
    assert dumps(loads(text)) == text


@given(decimals)
def test_the_digits_of_a_number_are_its_text(value: Decimal) -> None:
    assert dumps(value) == str(value)
    assert dumps([value]) == f"[{value}]"


@pytest.mark.parametrize("value", [0.1, float("nan"), {1: 2}, b"x", {"a": {1, 2}}, object()])
def test_what_json_or_exactness_forbids_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        dumps(value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_what_is_no_number_is_a_value_error(value: str) -> None:
    with pytest.raises(ValueError, match="not a JSON number"):
        dumps({"a": [Decimal(value)]})


@given(st.lists(st.text(min_size=1), unique=True, max_size=8))
def test_document_keys_are_legal_and_never_meet(names: list[str]) -> None:
    keys = [key_of(name) for name in names]
    assert len(set(keys)) == len(names)
    assert all(1 <= len(key) <= 254 and set(key) <= set(key.encode().decode("ascii")) for key in keys)
    assert not any(set("/?#%. ") & set(key) for key in keys)


def test_documents_compare_as_doubles() -> None:
    ours = {"a": Decimal("0.1"), "b": [1, Decimal("2.0")], "c": True, "d": None}
    assert as_doubles(ours) == as_doubles({"a": Decimal("0.1000"), "b": [Decimal(1), 2], "c": True, "d": None})
    assert as_doubles(ours) != as_doubles({**ours, "a": Decimal("0.2")})
    assert as_doubles({"c": True}) == {"c": True}
