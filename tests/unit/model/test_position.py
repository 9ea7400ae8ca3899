"""What a position says of its orders."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.position import Order, Position
from tests.unit.given import NOW, position, stopped


def an_order(name: str = "o", kind: Any = "TP", **members: Any) -> Order:
    given = {"qty": D(1), "status": "NEW", "sent_ts": NOW, "life": 1, "ours": True, **members}
    return Order(name, "i", kind, "SELL", given.pop("type", "MARKET"), **given)


@pytest.mark.parametrize(
    ("status", "live", "left"),
    [("PENDING", True, "0.7"), ("NEW", True, "0.7"), ("PARTIALLY_FILLED", True, "0.7"), ("FILLED", False, "0"),
     ("CANCELED", False, "0"), ("REJECTED", False, "0"), ("EXPIRED", False, "0")],
)  # fmt: skip
def test_an_order_may_fill_until_it_has_ended(status: Any, live: bool, left: str) -> None:
    one = an_order(status=status, filled=D("0.3"))
    assert (one.live, one.remaining) == (live, D(left))


def test_what_may_still_close_is_of_our_market_orders() -> None:
    orders = [an_order(kind, kind, filled=D("0.4")) for kind in ("TP", "REDUCE", "EXIT", "GUARD", "SL", "ADD")]
    held = position(orders=(*orders, an_order("theirs", "EXIT", ours=False)))
    assert held.closing_in_flight == D("2.4")
    assert held.working
    assert not position(orders=(an_order("SL", "SL"), an_order("theirs", ours=False))).working


def test_an_order_takes_its_former_selfs_place_and_leaves_at_its_end() -> None:
    held = position(orders=(an_order("a"), an_order("b")))
    grown = an_order("a", filled=D("0.5"))
    assert held.with_order(grown) == (an_order("b"), grown)
    assert held.with_order(replace(grown, status="FILLED")) == (an_order("b"),)
    assert (held.order("b"), held.order("c")) == (an_order("b"), None)


def test_a_stop_is_live_where_it_is_among_the_orders() -> None:
    held = stopped(39_000)
    assert held.live_stop is held.orders[0]
    assert replace(held, sl_order="").live_stop is replace(held, orders=()).live_stop is None


def test_an_order_is_current_in_its_own_open_life() -> None:
    assert position().is_current(an_order())
    assert not position(life=2).is_current(an_order())
    assert not position(status="CLOSED").is_current(an_order())


def named(held: Position, late_ms: int) -> tuple[str, ...]:
    return held.unconfirmed(NOW + late_ms, 2_000)


@pytest.mark.parametrize(
    ("one", "asked"),
    [(an_order(), True), (an_order(kind="SL", type="STOP_MARKET"), False), (an_order(ours=False), False),
     (an_order(kind="SL", type="STOP_MARKET", status="PENDING"), True)],
)  # fmt: skip
def test_s4_is_asked_about_what_it_has_been_silent_about(one: Order, asked: bool) -> None:
    held = position(orders=(one,))
    assert named(held, 2_000) == ()
    assert named(held, 2_001) == (("o",) if asked else ())


def test_once_an_exit_was_refused_s4_is_asked_about_the_stop() -> None:
    assert named(stopped(39_000), 9_000) == ()
    assert named(stopped(39_000, exit_not_before=NOW), 9_000) == ("SL-1",)


def test_a_signal_used_again_is_the_newest() -> None:
    p = position().with_signal("a").with_signal("b").with_signal("a")
    assert (p.used_signals, p.add_signal_id) == (("b", "a"), "a")
