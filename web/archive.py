"""Positions wherever they are: in Redis, or in the store alone once a closed one has left Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from s6.model.codec import from_fields
from s6.model.commit import Loaded
from s6.model.position import Position
from s6.model.types import POSITION_ID
from web.services import Services

MARK: Final = "~"
"""What a cursor into the store's part of a list begins with; no position's id has it."""


class Archived(NamedTuple):
    """Closed positions that only the store has, newest first, and the cursor of what follows (None: nothing)."""

    positions: list[Position]
    next_cursor: str | None


def find(services: Services, position_id: str) -> Loaded | None:
    """Return the position and its operation in flight, or None if no position has that id.

    Raises ``StateUnavailable``, ``StoreError``.
    """
    if not POSITION_ID.fullmatch(position_id):
        return None
    loaded = services.state.load(position_id)
    if loaded is not None:
        return loaded
    newest = services.store.snapshots(position_id=position_id, limit=1, newest_first=True).items
    if not newest or newest[0]["status"] != "CLOSED":  # an open one that Redis lacks is on its way back
        return None
    return Loaded(_position(newest[0]), None)


def archived(services: Services, symbol: str | None, limit: int, cursor: str) -> Archived:
    """Return up to ``limit`` closed positions that have left Redis. ``cursor`` is ``MARK`` for the first part.

    Raises ``StoreError``, ``StateUnavailable``.
    """
    page = services.store.closed(symbol=symbol, limit=limit, cursor=cursor.removeprefix(MARK) or None)
    ids = [str(doc["position_id"]) for doc in page.items]
    there = services.state.load_many(ids)
    positions = [_position(doc) for doc, loaded in zip(page.items, there, strict=True) if loaded is None]
    return Archived(positions, None if page.next_cursor is None else MARK + page.next_cursor)


def _position(snapshot: Mapping[str, Any]) -> Position:
    return from_fields(Position, snapshot["state"])
