"""Endpoints for positions: governance on demand, the live state, the history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import islice

from s6.model import jsonx
from s6.model.commit import Doc, Loaded
from s6.model.position import Position
from s6.model.types import POSITION_ID
from s6.store import StoreUnavailable
from web import archive
from web.api import table
from web.endpoint import Call, Reply
from web.problems import Problem, invalid, not_found
from web.schemas.fields import Page
from web.schemas.positions import (
    ManageAnswer,
    ManageRequest,
    PositionDetail,
    PositionsQuery,
    PositionState,
    Snapshot,
    TimelineQuery,
)

_CHUNK = 500
_READ_AT_MOST = 10_000


@table.add(
    "POST",
    "/positions/manage",
    tag="positions",
    scope="ops",
    answers={200: ManageAnswer},
    problems=(404, 409, 503),
)
def manage_position(call: Call, body: ManageRequest) -> Reply:
    """Govern one position now.

    `EVAL` decides once now and answers with the plan as soon as it is written down; execution follows. `PLAN` gives the
    same answer and changes nothing. `EXIT` closes at market. `PAUSE` and `RESUME` stop and restart governance;
    protection continues while paused: the stop stays and S6 still reduces risk. `WRITE_OFF` closes the books of a
    position that the exchange no longer has, at the mark (EXIT event, reason `WRITTEN_OFF`); S6 sends nothing but
    cancels of what may rest. 409 with `Retry-After` means that the
    position is being governed right now.
    """
    view = call.services.commands.execute(
        body.position_id, body.symbol, body.market, body.actions[0], call.who, body.reason
    )
    return Reply(view.as_dict())


@table.add("GET", "/positions", tag="positions", scope="read", answers={200: Page[PositionState]}, problems=(503,))
def list_positions(call: Call, query: PositionsQuery) -> Reply:
    """Return positions by id, and after them the closed ones that have left Redis, newest first.

    Filters narrow the list. A page may be short, even empty, while `next_cursor` says that there is more.
    """
    items: list[object] = []
    cursor: str | None = _position_cursor(query.cursor)
    if not str(cursor).startswith(archive.MARK):
        found, cursor = _live(call, query, str(cursor))
        items += map(state_of, found)
    if cursor is not None and cursor.startswith(archive.MARK):
        room = query.limit - len(items)
        try:
            part = archive.archived(call.services, query.symbol, max(room, 1), cursor)
        except StoreUnavailable:
            if not items:
                raise
        else:
            if room:
                items += [state_of(position) for position in part.positions if _wanted(position, query)]
            if room or not part.positions:
                cursor = part.next_cursor
    return Reply({"items": items, "next_cursor": cursor})


def _live(call: Call, query: PositionsQuery, after: str) -> tuple[list[Position], str | None]:
    """Positions in Redis behind ``after``, and where to go on: behind another, in the store, or nowhere."""
    found: list[Position] = []
    read = 0
    while True:
        ids = call.services.state.all_ids(after=after, limit=_CHUNK)
        for position_id, loaded in zip(ids, call.services.state.load_many(ids), strict=True):
            if len(found) == query.limit:
                return found, after
            after = position_id
            if loaded is not None and _wanted(loaded.position, query):
                found.append(loaded.position)
        read += len(ids)
        if len(ids) < _CHUNK:
            return found, None if query.status == "OPEN" else archive.MARK
        if read >= _READ_AT_MOST:
            return found, after


@table.add(
    "GET", "/positions/<position_id>", tag="positions", scope="read", answers={200: PositionDetail}, problems=(404, 503)
)
def get_position(call: Call, position_id: str) -> Reply:
    """One position: its state, live stop, ladder, add-ons and the operation in flight."""
    loaded = find(call, position_id)
    if loaded is None:
        raise unknown(position_id)
    return Reply(detail(loaded))


@table.add(
    "GET",
    "/positions/<position_id>/timeline",
    tag="positions",
    scope="read",
    answers={200: Page[Snapshot]},
    problems=(404, 503),
)
def get_timeline(call: Call, position_id: str, query: TimelineQuery) -> Reply:
    """A position's snapshots, in order.

    Snapshots that have not reached the store yet are included. Their fold gives the position's whole life.
    """
    items, next_cursor = timeline(call, position_id, query.limit, _timeline_cursor(query.cursor))
    if not items and not query.cursor and find(call, position_id) is None:
        raise unknown(position_id)
    return Reply({"items": items, "next_cursor": next_cursor})


def unknown(position_id: str) -> Problem:
    """Return the 404 for an unknown position."""
    return not_found(f"there is no position {position_id[:80]}")


def find(call: Call, position_id: str) -> Loaded | None:
    """Return the position and its operation, or None if there is no such position or the id is malformed."""
    return archive.find(call.services, position_id)


def detail(loaded: Loaded) -> dict[str, object]:
    """Return everything about one position in the API's form."""
    position, operation = loaded
    return {
        "state": state_of(position),
        "stop": _stop(position),
        "ladder": _ladder(position),
        "adds": {
            "count": position.add_on_count,
            "qty": position.added_qty,
            "ts": position.add_ts,
            "signal_id": position.add_signal_id,
        },
        "operation": operation,
    }


def state_of(position: Position) -> dict[str, object]:
    """Return the live position in the API's form: every field, with the ladder as a list."""
    return {f.name: getattr(position, f.name) for f in fields(position)} | {"ladder": _rungs(position)}


def timeline(call: Call, position_id: str, limit: int, after: int) -> tuple[list[Doc], str | None]:
    """Return at most ``limit`` snapshots with a ``seq`` above ``after``, in order, and the cursor for the next ones.

    They come from the store and from what waits for it in Redis.
    """
    if not POSITION_ID.fullmatch(position_id):
        return [], None
    # It reads the waiting ones first: a snapshot that moves to the store meanwhile is then seen twice, never missed.
    waiting = call.services.state.outbox_peek(position_id, _READ_AT_MOST)
    stored = call.services.store.snapshots(
        position_id=position_id, limit=limit + 1, cursor=str(after) if after else None
    )
    found = list(islice(_in_order(stored.items, waiting, after), limit + 1))
    if len(found) <= limit:
        return found, None
    return found[:limit], str(found[limit - 1]["seq"])


def _in_order(stored: list[dict[str, object]], waiting: list[Doc], after: int) -> Iterator[Doc]:
    last = after
    for snapshot in [*stored, *waiting]:
        seq = snapshot["seq"]
        if isinstance(seq, int) and seq > last:
            last = seq
            yield snapshot


def _stop(position: Position) -> dict[str, object] | None:
    guarded = position.sl_order or position.market == "SPOT" or position.self_guarded
    if not position.is_open or position.sl_price is None or not guarded:
        return None
    return {
        "k": position.sl_level,
        "price": position.sl_price,
        "qty": position.sl_qty if position.sl_order else position.qty,
        "client_order_id": position.sl_order,
        "ts": position.sl_ts,
    }


def _ladder(position: Position) -> dict[str, object] | None:
    rungs = _rungs(position)
    return {"ladder": rungs, "done": position.tp_done, "ts": position.ts} if rungs else None


def _rungs(position: Position) -> list[object]:
    return list(jsonx.loads(position.ladder)) if position.ladder else []


def _wanted(position: Position, query: PositionsQuery) -> bool:
    return (
        (query.symbol is None or position.symbol == query.symbol)
        and (query.market is None or position.market == query.market)
        and (query.status is None or position.status == query.status)
    )


def _position_cursor(cursor: str | None) -> str:
    if cursor is None:
        return ""
    if not (POSITION_ID.fullmatch(cursor) or cursor.startswith(archive.MARK)):
        raise bad_cursor()
    return cursor


def _timeline_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise bad_cursor()
    return int(cursor)


def bad_cursor() -> Problem:
    """Return the 422 for a cursor that this list never gave out."""
    return invalid({"field": "cursor", "message": "was not given out by this list"})
