"""The books: increments once, averages exact, margins and quotas, lives."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.booking import book
from s6.model.wire import MalformedMessage
from tests.unit.booking.booked import TERMS, booked, n
from tests.unit.given import NOW, position, result, stopped


def test_the_first_entry_fill_is_a_birth() -> None:
    b = booked(None, side="SELL", fee="16")
    p = b.position
    assert p.side == "SHORT"
    assert n(p.qty, p.q0, p.entry_price_avg, p.isolated_margin_usdt) == n(1, 1, 40000, 4000)
    assert n(p.realized_pnl_usdt, p.reserved_margin) == n(-16, 4000)
    assert b.opened
    assert abs(p.liq_price - D(44000) / D("1.004")) < D("1e-20")
    assert [e["type"] for e in b.events] == ["ENTRY"]


def test_growing_fills_are_booked_by_their_increments() -> None:
    first = booked(None, status="PARTIALLY_FILLED", filled_qty="0.4", avg_price="40000")
    second = booked(first.position, first.order, filled_qty="1", avg_price="40600", fee="1")
    assert (second.increment, second.price) == (D("0.6"), D(41000))
    assert second.position.entry_price_avg == D(40600)
    assert second.position.realized_pnl_usdt == -1
    assert [e["qty"] for e in second.events] == ["0.6"]


def test_what_is_known_changes_nothing_and_status_only_goes_forward() -> None:
    b = booked(None)
    assert book(b.position, b.order, result(), mark=None, terms=TERMS, now=NOW) is None
    late = result(status="PARTIALLY_FILLED", filled_qty="0.5")
    assert book(b.position, b.order, late, mark=None, terms=TERMS, now=NOW) is None
    stop = stopped(39000)
    canceled = booked(stop, stop.live_stop, kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-1",
                      status="CANCELED", filled_qty="0", avg_price=None)  # fmt: skip
    assert canceled.position.sl_order == ""
    assert canceled.position.sl_price == D(39000)
    again = result(kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-1", status="NEW", filled_qty="0")
    assert book(canceled.position, canceled.order, again, mark=None, terms=TERMS, now=NOW) is None


def test_flat_is_told_after_the_fill_that_made_it_and_quotas_go_back() -> None:
    b = booked(position(qty=D("0.1004"), reserved_margin=D(400)), kind="TP", side="SELL", client_order_id="t",
               qty="0.1", filled_qty="0.1", avg_price="42000")  # fmt: skip
    assert [e["type"] for e in b.events] == ["TP_PARTIAL", "EXIT"]
    assert b.position.status == "CLOSED"
    assert n(b.position.qty, b.position.dust) == n(0, "0.0004")
    assert {(q.key, q.delta) for q in b.quotas} == {("risk:concurrency:FUT", D(-1)), ("risk:budget:FUT", D(-400))}
    assert '"dust":0.0004' in b.events[1]["data"]


def test_a_next_life_keeps_the_counters_and_nothing_else() -> None:
    closed = position(status="CLOSED", qty=D(0), seq=9, rev=20, op_count=5, tp_done=(0,), reduces=2, sl_price=D(1))
    p = booked(closed, client_order_id="e2", side="SELL").position
    assert (p.life, p.seq, p.rev, p.op_count, p.side) == (2, 9, 20, 5, "SHORT")
    assert (p.tp_done, p.reduces, p.sl_price, p.exit_reason) == ((), 0, None, "")


def test_an_add_that_fills_after_the_close_is_to_be_closed() -> None:
    closed = position(status="CLOSED", qty=D(0))
    p = booked(closed, kind="ADD", client_order_id="a1").position
    assert (p.status, p.exit_reason) == ("OPEN", "ADD_AFTER_CLOSE")


@pytest.mark.parametrize(
    "fields", [{"kind": "TP", "side": "BUY"}, {"market": "SPOT"}, {"symbol": "ETHUSDT"}, {"side": "SELL"}]
)
def test_what_contradicts_the_position_is_malformed(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        booked(position(), None, client_order_id="z", **fields)


def test_a_result_before_its_position_has_to_wait() -> None:
    with pytest.raises(LookupError):
        book(None, None, result(kind="TP", side="SELL"), mark=None, terms=TERMS, now=NOW)


def test_a_former_lifes_stop_may_end_in_a_life_of_the_other_side() -> None:
    old = stopped(39000).live_stop
    assert old is not None
    short = position(side="SHORT", life=2, orders=(old,))
    told: dict[str, Any] = {
        "kind": "SL",
        "side": "SELL",
        "type": "STOP_MARKET",
        "client_order_id": "SL-1",
        "leverage": None,
    }
    gone = booked(short, old, **told, status="CANCELED", filled_qty="0", avg_price=None)
    assert gone.position.orders == ()
    assert gone.position.qty == 1
    with pytest.raises(MalformedMessage):
        booked(short, old, **told, filled_qty="0.5", avg_price="39000")


def test_signals_used_up_are_remembered_over_others_and_over_lives() -> None:
    p = position().with_signal("s1").with_signal("s2")
    assert (p.used_signals, p.add_signal_id) == (("s1", "s2"), "s2")
    closed = replace(p, status="CLOSED", qty=D(0))
    assert booked(closed, client_order_id="e2").position.used_signals == ("s1", "s2")
    for number in range(200):
        p = p.with_signal(f"n{number}")
    assert (len(p.used_signals), p.used_signals[-1]) == (100, "n199")


@pytest.mark.parametrize("by", ["EXIT", "SL"])
def test_a_closed_position_has_no_stop_any_more(by: str) -> None:
    """Its order may rest at S4 still, and is cleaned up; but it protects nothing."""
    held = stopped(39000)
    told: dict[str, Any] = {
        "kind": by,
        "side": "SELL",
        "client_order_id": "SL-1" if by == "SL" else "x",
        "leverage": None,
    }
    p = booked(held, held.live_stop if by == "SL" else None, **told).position
    assert (p.status, p.sl_order, p.sl_qty, p.sl_price) == ("CLOSED", "", D(0), D(39000))
    assert [o.client_order_id for o in p.orders] == ([] if by == "SL" else ["SL-1"])


def test_a_stop_that_was_filled_in_part_protects_on() -> None:
    held = stopped(39000)
    p = booked(held, held.live_stop, kind="SL", side="SELL", client_order_id="SL-1", status="PARTIALLY_FILLED",
               filled_qty="0.4", avg_price="39000", leverage=None).position  # fmt: skip
    assert (p.sl_order, p.qty) == ("SL-1", D("0.6"))
