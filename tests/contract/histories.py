"""Documents and stores for the tests of the history."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from s6.store import Document, Store, StoreUnavailable

T = TypeVar("T")

HOUR = 3_600_000
T0 = 1_700_000_000_000


def snapshot(
    position_id: str = "p1",
    seq: int = 1,
    *,
    ts: int | None = None,
    symbol: str = "BTCUSDT",
    status: str = "OPEN",
    **more: object,
) -> Document:
    """A snapshot; its time is ``seq`` seconds after T0 unless told."""
    return {
        "_key": f"{position_id}-{seq:08d}",
        "position_id": position_id,
        "seq": seq,
        "symbol": symbol,
        "ts": T0 + seq * 1000 if ts is None else ts,
        "status": status,
        "phase": "RESULT",
        "qty": Decimal("0.125"),
        "mark": Decimal("43000.1"),
        "paused": False,
        "sl_price": None,
        "ladder": [{"roe": Decimal("0.8"), "fraction": Decimal("0.33")}],
        "exact": {"qty": "0.125", "mark": "43000.1"},
        **more,
    }


def alert(alert_id: str, *, ts: int = T0, severity: str = "WARN", **more: object) -> Document:
    """An alert."""
    return {"alert_id": alert_id, "ts": ts, "severity": severity, "code": "DEADLETTER", "detail": "…", **more}


def transfer(transfer_id: str, *, ts: int = T0, status: str = "PENDING", **more: object) -> Document:
    """A transfer."""
    return {"transfer_id": transfer_id, "ts": ts, "status": status, "amount": Decimal("250.5"), "from": "SPOT", **more}


def all_snapshots(store: Store, *, limit: int, **narrowed: object) -> list[Document]:
    """A whole list, read page by page."""
    found: list[Document] = []
    cursor: str | None = None
    while True:
        page = store.snapshots(limit=limit, cursor=cursor, **narrowed)  # type: ignore[arg-type]
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page.items) == limit


def insisting(call: Callable[[], T], within_s: float = 20.0) -> T:
    """The caller's part of the bargain: again until the store can."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return call()
        except StoreUnavailable:
            if time.monotonic() > deadline:
                raise
