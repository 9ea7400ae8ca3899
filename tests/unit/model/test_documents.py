"""Events, alerts and snapshots bear ids that follow from what happened."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

from s6.model import jsonx
from s6.model.codec import from_fields
from s6.model.documents import alert, event, snapshot
from s6.model.position import Position
from tests.unit.given import NOW, position, stopped


def test_an_events_id_says_what_happened() -> None:
    first = event(position(), "ENTRY", "o1.1", NOW, D("1.50"), None, "ENTRY", {"a": D("0.10")})
    assert (first["event_id"], first["qty"], first["price"], first["ts"]) == ("p1.1.ENTRY.o1.1", "1.5", "", str(NOW))
    assert jsonx.loads(first["data"]) == {"a": D("0.1")}
    last = event(position(life=2), "EXIT", "", NOW, D(1), D(40000), "SL", {})
    assert (last["event_id"], last["price"]) == ("p1.2.EXIT", "40000")


def test_an_alerts_id_is_its_place_in_the_positions_history() -> None:
    told = ("WARN", "X", "x", NOW)
    first = alert(position(), 0, *told)  # type: ignore[arg-type]
    assert first == alert(position(qty=D(9)), 0, *told)  # type: ignore[arg-type]
    others = [alert(position(), 1, *told), alert(position(rev=1), 0, *told), alert(position(), 0, "WARN", "X", "x", 1)]  # type: ignore[arg-type]
    assert len({first.alert_id, *(one.alert_id for one in others)}) == 4
    assert first.alert_id.startswith(f"al-{NOW}-")


def test_a_snapshot_holds_what_a_rebuild_needs() -> None:
    held = stopped(39_000, seq=12)
    doc = snapshot(held, "AFTER", "why", NOW, op=None, order=held.orders[0])
    assert (doc["_key"], doc["seq"], doc["phase"], doc["cause"], doc["ts"]) == ("p1:00000012", 12, "AFTER", "why", NOW)
    assert from_fields(Position, doc["state"]) == held  # type: ignore[arg-type]
    assert (doc["op"], doc["order"] is not None) == (None, True)
    assert snapshot(replace(held, paused=True), "AFTER", "", NOW, op=None)["paused"] is True
