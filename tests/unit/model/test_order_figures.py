"""A fill is understood whatever the figures and words beside it are."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.order_figures import understood

FILLED: dict[str, object] = {"market": "FUT", "kind": "ENTRY", "side": "BUY", "status": "FILLED", "type": "MARKET",
                             "qty": "1", "filled_qty": "1"}  # fmt: skip


def read(**fields: object) -> dict[str, Any]:
    return understood({**FILLED, **fields})


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [("leverage", "3", "0"), ("isolated_margin_usdt", "1", "-1"), ("liq_price", "0", "-1"), ("fee", "-1", "x")],
)
def test_a_figure_that_cannot_be_counts_as_absent_and_is_named(name: str, good: str, bad: str) -> None:
    assert (read(**{name: good})[name], read(**{name: good})["odd"]) == (D(good), ())
    found = read(**{name: bad})
    assert (found.get(name), found["odd"]) == (None, (f"{name} {bad}",))
    assert read(**{name: ""})["odd"] == ()


def test_figures_of_another_kind_or_market_are_not_looked_at() -> None:
    for fields in ({"kind": "SL"}, {"market": "SPOT"}):
        found = read(leverage="-1", isolated_margin_usdt="x", liq_price="-1", **fields)
        assert found["odd"] == () and not {"leverage", "isolated_margin_usdt", "liq_price"} & found.keys()
    assert read(kind="ADD", leverage="3")["leverage"] == D(3)
    assert "fee_qty" not in read(fee_qty="1")
    assert read(market="SPOT", fee_qty="0.1")["fee_qty"] == D("0.1")
    assert "fee_qty" not in read(market="SPOT", side="SELL", fee_qty="1")


@pytest.mark.parametrize(("told", "name"), [(55, "55"), (D(55), "55"), (D("5.5E+1"), "55"), ("a-1", "a-1")])
def test_an_id_that_is_a_number_in_json_is_its_digits(told: object, name: str) -> None:
    found = read(order_id=told, client_order_id=told, intent_id=told)
    assert (found["order_id"], found["client_order_id"], found["intent_id"]) == (name, name, name)
    assert found["odd"] == ()


@pytest.mark.parametrize("told", ["9" * 129, True, ["1"], {}])
def test_an_exchanges_id_that_cannot_be_is_absent(told: object) -> None:
    found = read(order_id=told)
    assert ("order_id" in found, found["odd"]) == (False, (f"order_id {str(told)[:64]}",))


@pytest.mark.parametrize(("told", "kept"), [("x" * 300, "x" * 256), (True, ""), ([1], "")])
def test_no_fill_is_lost_for_its_intent(told: object, kept: str) -> None:
    assert read(intent_id=told)["intent_id"] == kept


def test_words_in_small_letters_are_understood_and_said() -> None:
    found = read(market="fut", kind="entry", side="buy", leverage="3")
    assert (found["market"], found["kind"], found["side"], found["leverage"]) == ("FUT", "ENTRY", "BUY", D(3))
    assert found["guessed"] == ("market fut taken for FUT", "kind entry taken for ENTRY", "side buy taken for BUY")
    assert read(kind="HEDGE")["guessed"] == ()


def test_quantities_that_are_missing_follow_from_each_other() -> None:
    assert read(qty="0")["qty"] == read(qty="", filled_qty="1")["qty"] == "1"
    assert read(filled_qty="")["filled_qty"] == D(1)
    assert "filled_qty" not in read(filled_qty="", status="NEW")
    assert read(qty=None, filled_qty=None, status="NEW")["qty"] == 0


@pytest.mark.parametrize(
    ("said", "filled", "meaning"),
    [("EXPIRED_IN_MATCH", "0", "EXPIRED"), ("canceled_by_adl", "0", "CANCELED"), ("REJECTED_X", "0", "REJECTED"),
     ("DONE", "1", "FILLED"), ("DONE", "0.5", "PARTIALLY_FILLED"), ("filled", "1", "FILLED")],
)  # fmt: skip
def test_a_status_the_contract_does_not_know_is_taken_for_what_it_means(said: str, filled: str, meaning: str) -> None:
    found = read(status=said, filled_qty=filled)
    assert (found["status"], found["guessed"]) == (meaning, (f"status {said} taken for {meaning}",))


def test_where_nothing_was_filled_nothing_can_be_said() -> None:
    found = read(status="DONE", filled_qty="0")
    assert (found["status"], found["guessed"]) == ("DONE", ())
    assert read(status="DONE", filled_qty="x")["status"] == "DONE"


@pytest.mark.parametrize(
    ("said", "meaning"), [("TRAILING_STOP", "STOP_MARKET"), ("ICEBERG", "LIMIT"), ("STOP_MARKET", "STOP_MARKET")]
)
def test_a_type_the_contract_does_not_know_rests(said: str, meaning: str) -> None:
    assert read(type=said)["type"] == meaning


def test_without_a_type_it_is_a_market_order_and_nothing_was_guessed() -> None:
    found = understood({name: value for name, value in FILLED.items() if name != "type"})
    assert (found["type"], found["guessed"]) == ("MARKET", ())


def test_a_reason_is_cut() -> None:
    assert len(read(reason="x" * 900)["reason"]) == 500
    assert read()["reason"] == ""
