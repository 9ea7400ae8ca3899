"""The trigger index finds whom a move crosses, and knows who stands without a stop."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

from s6.listener.index import TriggerIndex
from s6.model.market import Features
from s6.model.position import Position
from tests.unit.given import NOW, bundle, position, stopped

RULES = bundle(fut={"stop": {"anchor": "BEST", "lock_steps": [{"roe": 0.5, "lock_roe": 0.2}]}})
FEATURES = Features(ts=NOW, atr=D(200), regime="NORMAL")


def indexed(*held: Position) -> TriggerIndex:
    index = TriggerIndex()
    for one in held:
        index.put(one, RULES, FEATURES)
    return index


def test_the_index_finds_what_lies_between_two_marks() -> None:
    index = TriggerIndex()
    index.put(stopped(39600, position_id="long"), RULES, FEATURES)
    index.put(stopped(40600, position_id="short", side="SHORT"), RULES, FEATURES)
    assert index.crossed("BTCUSDT", None, D(39000)) == set()
    assert index.crossed("BTCUSDT", D(40000), D(39600)) >= {"long"}
    assert index.crossed("BTCUSDT", D(39600), D("39600.05")) == set()  # left, not reached
    assert index.crossed("BTCUSDT", D(40500), D(40600)) == {"short"}
    index.keep_only({"short"})
    assert "long" not in index.crossed("BTCUSDT", D(40000), D(39600))


def test_a_move_is_found_from_either_end() -> None:
    index = indexed(stopped(39600))
    for before, mark in ((39700, 39500), (39500, 39700), (39700, 39600)):
        assert index.crossed("BTCUSDT", D(before), D(mark)) == {"p1"}
    for before, mark in ((39700, 39601), (39600, 39599), (39600, 39600)):
        assert index.crossed("BTCUSDT", D(before), D(mark)) == set()
    assert index.crossed("ETHUSDT", D(39700), D(39500)) == set()


def test_a_position_that_changed_has_its_new_prices_alone() -> None:
    index = indexed(stopped(39600), stopped(39650))
    assert index.crossed("BTCUSDT", D(39610), D(39590)) == set()
    assert index.crossed("BTCUSDT", D(39660), D(39640)) == {"p1"}


def test_a_closed_one_leaves() -> None:
    index = indexed(stopped(39600), stopped(39600, status="CLOSED"))
    assert index.crossed("BTCUSDT", D(39610), D(39590)) == set()


def test_moves_from_before_it_was_known_are_found_when_it_is_put_in() -> None:
    index = TriggerIndex()
    index.crossed("BTCUSDT", D(40000), D(39500), NOW + 5)
    index.crossed("BTCUSDT", D(39500), D(39550), NOW + 6)
    held = stopped(39600, sl_ts=NOW + 5)
    assert [move.at for move in index.put(held, RULES, FEATURES)] == [NOW + 5]
    assert index.put(held, RULES, FEATURES) == []  # it knows of it already
    later = TriggerIndex()
    later.crossed("BTCUSDT", D(40000), D(39500), NOW + 4)
    assert later.put(held, RULES, FEATURES) == []  # the stop wasn't there yet


def test_only_so_many_moves_are_remembered() -> None:
    index = TriggerIndex()
    index.crossed("BTCUSDT", D(40000), D(39500), NOW)
    for number in range(100):
        index.crossed("BTCUSDT", D(39000), D(39001), NOW + number)
    assert index.put(stopped(39600), RULES, FEATURES) == []


UNPROTECTED = position()


def test_who_has_its_stop_again_is_forgotten() -> None:
    index = indexed(UNPROTECTED)
    assert index.unprotected() == {"p1"}
    index.put(stopped(39600), RULES, FEATURES)
    assert index.unprotected() == set()


def test_who_is_gone_or_closed_is_forgotten() -> None:
    index = indexed(UNPROTECTED, replace(UNPROTECTED, position_id="p2"))
    index.keep_only({"p2"})
    assert index.unprotected() == {"p2"}
    index.put(replace(UNPROTECTED, position_id="p2", status="CLOSED"), RULES, FEATURES)
    assert index.unprotected() == set()


def test_a_stop_for_another_quantity_protects_not_enough() -> None:
    held = stopped(39600)
    assert indexed(replace(held, qty=D("1.5"))).unprotected() == {"p1"}
    assert indexed(replace(held, qty=D("1.0004"))).unprotected() == set()  # less than a step more


def test_what_s6_guards_itself_needs_a_price_and_no_order() -> None:
    spot = position(market="SPOT", isolated_margin_usdt=D(40000))
    assert indexed(spot).unprotected() == {"p1"}
    assert indexed(replace(spot, sl_price=D(38000))).unprotected() == set()
    assert indexed(position(self_guarded=True, sl_price=D(38000))).unprotected() == set()
    assert indexed(position(symbol="XUSDT")).unprotected() == set()
