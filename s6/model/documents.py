"""Builds what S6 publishes about a position: events for the streams, snapshots for the history, alerts for people."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal

from s6.model import jsonx
from s6.model.codec import to_fields
from s6.model.commit import Alert
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Phase, Severity, plain


def event(
    position: Position,
    type_: str,
    part: str,
    ts: int,
    qty: Decimal,
    price: Decimal | None,
    reason: str,
    data: Mapping[str, object],
) -> dict[str, str]:
    """Build an entry of ``pos:events:SYMBOL``. ``part`` distinguishes it from events of its type in the same life."""
    tail = f".{part}" if part else ""
    return {
        "event_id": f"{position.position_id}.{position.life_name}.{type_}{tail}",
        "ts": str(ts),
        "type": type_,
        "position_id": position.position_id,
        "symbol": position.symbol,
        "market": position.market,
        "side": position.side,
        "qty": plain(qty),
        "price": "" if price is None else plain(price),
        "reason": reason,
        "data": jsonx.dumps(dict(data)),
    }


def alert(position: Position, number: int, severity: Severity, code: str, detail: str, ts: int) -> Alert:
    """Build the ``number``-th alert of the commit that follows the position's ``rev``. ``ts`` is in ms.

    ``ts`` is part of the id because a revision can occur twice after a loss of Redis.
    """
    place = hashlib.sha256(f"{position.position_id}:{position.rev}:{number}".encode()).hexdigest()[:12]
    return Alert(f"al-{ts}-{place}", ts, severity, code, position.position_id, detail)


def snapshot(
    position: Position,
    phase: Phase,
    cause: str,
    ts: int,
    *,
    op: Operation | None,
    order: Order | None = None,
    outcome: str = "",
) -> dict[str, object]:
    """Build a document of ``positions_snapshots``.

    The named members serve people and queries; ``state``, ``op`` and ``order`` (exact decimal strings) serve a rebuild.
    ``outcome`` says how an operation ended (``SUCCESS``, ``PARTIAL``, ``REFUSED``, …). ``order`` is the order of a
    RESULT: those of all snapshots of a life give every order's books.
    """
    p = position
    return {
        "_key": f"{p.position_id}:{p.seq:08d}",
        "position_id": p.position_id,
        "seq": p.seq,
        "phase": phase,
        "symbol": p.symbol,
        "market": p.market,
        "side": p.side,
        "qty": p.qty,
        "entry_price_avg": p.entry_price_avg,
        "isolated_margin_usdt": p.isolated_margin_usdt,
        "unrealized_pnl_usdt": p.unrealized_pnl_usdt,
        "realized_pnl_usdt": p.realized_pnl_usdt,
        "roe": p.roe,
        "mark": p.mark,
        "add_on_count": p.add_on_count,
        "sl_price": p.sl_price,
        "sl_level": p.sl_level,
        "status": p.status,
        "paused": p.paused,
        "cause": cause,
        "bundle_version": p.bundle_version,
        "ts": ts,
        "life": p.life,
        "state": to_fields(p),
        "op": to_fields(op) if op is not None else None,
        "order": to_fields(order) if order is not None else None,
        **({"outcome": outcome.upper()} if outcome else {}),
    }
