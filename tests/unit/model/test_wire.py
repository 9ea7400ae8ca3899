"""Messages taken apart: what is required, what is folded, what lies ahead of the clock."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.market import Features
from s6.model.wire import (
    BundleEvent,
    FeatureMessage,
    HealthKey,
    MalformedMessage,
    Message,
    OrderResult,
    TickMessage,
    printable,
)
from tests.unit.given import NOW, result

MESSAGES: list[tuple[type[Message], dict[str, str]]] = [
    (TickMessage, {"mark": "1"}),
    (FeatureMessage, {"atr": "1", "regime": "LOW"}),
    (BundleEvent, {"version": "b"}),
    (HealthKey, {"status": "OK"}),
    (OrderResult, {"symbol": "BTCUSDT", "market": "FUT", "position_id": "p", "order_id": "1", "kind": "SL",
                   "side": "SELL", "type": "MARKET", "status": "NEW", "qty": "1"}),
]  # fmt: skip


def test_a_tick_with_an_empty_side_counts() -> None:
    tick = TickMessage.read({"ts": "1", "mark": "100.10", "bid": "", "x": "ignored"}).tick()
    assert (tick.ts, tick.mark, tick.bid, tick.ask) == (1, D("100.10"), D(0), D(0))


@pytest.mark.parametrize(
    "fields", [{"mark": "0"}, {"mark": "-1"}, {"mark": "x"}, {"bid": "-1"}, {"ts": "-1"}, {"ts": "x"}]
)
def test_a_tick_that_cannot_be_is_malformed(fields: dict[str, str]) -> None:
    with pytest.raises(MalformedMessage, match=next(iter(fields))):
        TickMessage.read({"ts": "1", "mark": "100", **fields})


def test_a_time_ahead_of_the_clock_is_malformed() -> None:
    fields = {"ts": "1000", "mark": "1"}
    assert TickMessage.read(fields, latest=1000).ts == 1000
    with pytest.raises(MalformedMessage, match="1 ms further ahead"):
        TickMessage.read(fields, latest=999)


@pytest.mark.parametrize("fields", [{"mark": "1\udcff"}, {"m\ud800": "1"}])
def test_what_is_no_utf8_is_malformed_and_can_be_shown(fields: dict[str, str]) -> None:
    with pytest.raises(MalformedMessage, match="must be UTF-8"):
        TickMessage.read({"ts": "1", "mark": "1", **fields})
    assert printable("a\udcff\ud800b") == "a\\xff\\ud800b"


def features(ts: int, signal: str | None = None, name: str = "", atr: str = "10") -> FeatureMessage:
    given = {"ts": str(ts), "atr": atr, "regime": "LOW", "signal_id": name}
    return FeatureMessage.read({**given, **({} if signal is None else {"signal": signal})})


def test_features_are_folded_by_time_and_a_signal_stands() -> None:
    known = features(5, "LONG", "s1").fold(Features())
    assert known == Features(5, D(10), "LOW", "LONG", "s1", 5)
    later = features(7, atr="20").fold(known)
    assert (later.atr, later.signal_id, later.signal_ts) == (D(20), "s1", 5)
    late = features(6, atr="30").fold(later)
    assert late == later
    late_signal = features(6, "SHORT", "s2", atr="30").fold(later)
    assert (late_signal.atr, late_signal.signal, late_signal.signal_ts) == (D(20), "SHORT", 6)
    again = features(9, "SHORT", "s2").fold(late_signal)
    assert (again.ts, again.signal_ts) == (9, 6)  # the same signal isn't new
    over = features(10, "NONE").fold(again)
    assert (over.signal, over.signal_id) == ("NONE", "")
    assert features(4, "LONG", "s0").fold(late_signal).signal_id == "s2"


@pytest.mark.parametrize("signal", ["LONG", "SHORT"])
def test_a_signal_needs_its_name(signal: str) -> None:
    with pytest.raises(MalformedMessage, match="signal_id is required"):
        features(1, signal)
    with pytest.raises(MalformedMessage, match="signal"):
        features(1, "UP", "s1")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [({"client_order_id": None}, "client_order_id or order_id"), ({"filled_qty": "0"}, "filled_qty must be above 0"),
     ({"market": "SPOT", "side": "SELL"}, "side must be BUY"), ({"kind": "OTHER"}, "kind"),
     ({"symbol": "btc"}, "symbol"), ({"position_id": "-x"}, "position_id")],
)  # fmt: skip
def test_a_result_that_cannot_be_booked_is_malformed(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(MalformedMessage, match=fault):
        result(**fields)


def test_an_order_is_known_by_either_id() -> None:
    assert result(client_order_id=None, order_id="x1").order_id == "x1"
    assert OrderResult.read({**result().model_dump(exclude_none=True), "ts": NOW}).client_order_id == "e1"


@pytest.mark.parametrize(("kind", "fields"), MESSAGES)
def test_text_must_be_utf8_even_where_nobody_looks(kind: type[Message], fields: dict[str, str]) -> None:
    assert kind.read({"ts": "1", **fields})
    for odd in ({"of no interest": "\udcff"}, {"\udcfe": "x"}, {"reason": "\ud800"}):
        with pytest.raises(MalformedMessage, match="UTF-8"):
            kind.read({"ts": "1", **fields, **odd})


@pytest.mark.parametrize(("kind", "fields"), MESSAGES)
def test_a_time_may_not_lie_ahead(kind: type[Message], fields: dict[str, str]) -> None:
    assert kind.read({"ts": str(NOW), **fields}, latest=NOW)
    with pytest.raises(MalformedMessage, match="1 ms further ahead"):
        kind.read({"ts": str(NOW + 1), **fields}, latest=NOW)
