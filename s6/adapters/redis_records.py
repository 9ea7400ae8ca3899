"""Converts positions, markets and waiting results to what stands in Redis, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Final

from s6 import keys
from s6.adapters.redis_marks import Mark
from s6.model import jsonx
from s6.model.codec import from_fields, to_fields
from s6.model.commit import Commit, Loaded, QuotaMove, Reservation
from s6.model.market import Extremes, Features, MarketView, Tick
from s6.model.operation import Operation
from s6.model.position import Order, Position, rungs_json
from s6.model.types import plain

FILLED_KEPT: Final = 256
UNFILLED_KEPT: Final = 64
EVENTS_KEPT: Final = 100_000
ADDING: Final = "id:"  # distinguishes positions from the counter in the hash of adds at work


def adding(position_id: str) -> str:
    """The field of a position that has an add at work."""
    return f"{ADDING}{position_id}"


def stale_orders(rows: Mapping[str, str]) -> list[str]:
    """Return which of a position's orders may be forgotten, by their ids.

    Live ones stay, and the newest finished ones: ``UNFILLED_KEPT`` that never filled, of which hardly a word may still
    come, and ``FILLED_KEPT`` that did. Those must be known should their results be told again.
    """
    orders = sorted((from_fields(Order, jsonx.loads(text)) for text in rows.values()), key=lambda o: o.sent_ts)
    finished = [o for o in orders if not o.live]
    filled = [o.client_order_id for o in finished if o.filled]
    unfilled = [o.client_order_id for o in finished if not o.filled]
    return filled[:-FILLED_KEPT] + unfilled[:-UNFILLED_KEPT]


def reservation(one: Reservation) -> str:
    return f"{one.client_order_id} {plain(one.margin)} {one.ts}"


def reserved(text: str) -> Reservation:
    """Read a reservation; one of an older version is its margin alone."""
    name, margin, ts = text.split(" ") if " " in text else ("", text, "0")
    return Reservation(name, Decimal(margin), int(ts))


def loaded(state: Mapping[str, str]) -> Loaded | None:
    if not state:
        return None
    op = state.get("_op")
    return Loaded(from_fields(Position, state), from_fields(Operation, json.loads(op)) if op else None)


def view(
    symbol: str, tick: Mapping[str, str], features: Mapping[str, str], crossing: Mapping[str, str] | None = None
) -> MarketView:
    extremes = None
    if crossing:
        high, low = Decimal(crossing["high"]), Decimal(crossing["low"])
        extremes = Extremes(high, int(crossing["high_ts"]), low, int(crossing["low_ts"]), int(crossing["n"]))
    return MarketView(
        symbol,
        from_fields(Tick, tick) if tick else None,
        from_fields(Features, features) if features else Features(),
        extremes,
    )


def flat(fields: Mapping[str, str]) -> list[str]:
    return [text for pair in fields.items() for text in pair]


def payload(
    position: Position, change: Commit, *, tells: bool = False, marks: Iterable[Mark] = ()
) -> dict[str, object]:
    """Return what the commit script writes. The side hashes are for neighbours to read; the state holds all of it.

    With ``tells`` the script itself puts the events on their stream, and writes these ``marks``.
    """
    side = _side_hashes(position, change.op)
    shown = {f"_{name}": digest for name, (digest, _) in side.items()}
    orders = [text for o in change.orders for text in (o.client_order_id, jsonx.dumps(to_fields(o)))]
    events = [jsonx.dumps({"event": e}) for e in change.events]
    quotas = [jsonx.dumps({"quota": _move(q)}) for q in change.quotas]
    alerts = [jsonx.dumps({"alert": to_fields(a)}) for a in change.alerts]
    position_id = position.position_id
    released = [jsonx.dumps({"release": position_id, "order": name}) for name in change.ended_adds]
    return {
        "state": flat(to_fields(position) | _as_last_shown(change) | shown),
        **{name: [digest, flat(fields)] for name, (digest, fields) in side.items()},
        "whole": change.whole,
        "orders": orders,
        "told": [[e, _added(event)] for e, event in zip(events, change.events, strict=True)] if tells else [],
        "events": ([] if tells else events) + quotas + alerts + released,
        "snaps": [jsonx.dumps(s) for s in change.snapshots],
        "beside": [mark.words() for mark in marks],
    }


def _side_hashes(p: Position, op: Operation | None) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the hashes that others read of a position, each with what its text is recognised by; none where empty.

    The ladder's ``ts`` is when it was written. The operation is recognised by its whole text, from which it is read.
    """
    stop, adds, ladder = stop_fields(p), adds_fields(p), {"ladder": p.ladder or "[]", "done": rungs_json(p.tp_done)}
    doing = to_fields(op) if op is not None else {}
    return {
        "sl": (_digest(stop), stop),
        "tp": (_digest(ladder), ladder | {"ts": str(p.ts)}),
        "adds": (_digest(adds), adds),
        "op": (json.dumps(doing) if doing else "", doing),
    }


def _digest(fields: Mapping[str, str]) -> str:
    return blake2b("\n".join(flat(fields)).encode(), digest_size=8).hexdigest() if fields else ""


def _added(event: Mapping[str, str]) -> list[str]:
    """Return the arguments of the XADD that puts an event on its stream."""
    return [keys.events(event["symbol"]), "MAXLEN", "~", str(EVENTS_KEPT), "*", *flat(event)]


def _move(move: QuotaMove) -> dict[str, object]:
    fields = {"id": move.move_id, "key": move.key, "delta": plain(move.delta)}
    return fields | {"restores": True} if move.restores else dict(fields)


def _as_last_shown(change: Commit) -> dict[str, str]:
    """Return what else a snapshot names, so that the state shows every field of the last one."""
    return {name: str(change.snapshots[-1][name]) for name in ("_key", "phase")} if change.snapshots else {}


def stop_fields(p: Position) -> dict[str, str]:
    guarded = p.sl_order or p.market == "SPOT" or p.self_guarded
    if not p.is_open or p.sl_price is None or not guarded:
        return {}
    return {
        "k": str(p.sl_level),
        "price": plain(p.sl_price),
        "qty": plain(p.sl_qty if p.sl_order else p.qty),
        "client_order_id": p.sl_order,
        "ts": str(p.sl_ts),
    }


def adds_fields(p: Position) -> dict[str, str]:
    return {"count": str(p.add_on_count), "qty": plain(p.added_qty), "ts": str(p.add_ts), "signal_id": p.add_signal_id}


def parcel(position_id: str, fields: Mapping[str, str]) -> str:
    return jsonx.dumps({"position_id": position_id, "fields": dict(sorted(fields.items()))})


def unwrapped(row: str) -> tuple[str, Mapping[str, str]]:
    parcel = jsonx.loads(row)
    return parcel["position_id"], parcel["fields"]
