"""Positions in Redis: read whole, written by one commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from redis.exceptions import NoScriptError

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_marks import AWAY, Mark, queue, raised
from s6.adapters.redis_part import RedisPart, asking
from s6.model import jsonx
from s6.model.codec import from_fields
from s6.model.commit import Commit, Loaded
from s6.model.position import Order, Position
from s6.ports import Clock, LockLost, PartUnavailable

log = logging.getLogger(__name__)
CHUNK: Final = 500
MOST_ORDERS: Final = 512
"""So many orders of a position may be remembered before the oldest finished ones are forgotten."""
LOOKED_AFTER: Final = 32
"""After so many commits their number is looked at."""


class RedisPositions(RedisPart):
    """``s6.ports.Positions`` and ``s6.ports.Commits``."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._commit = redis.register_script(lua.COMMIT)
        self._prune = redis.register_script(lua.PRUNE)

    def load(self, position_id: str) -> Loaded | None:
        return self.load_many([position_id])[0]

    def load_many(self, position_ids: Sequence[str]) -> list[Loaded | None]:
        loaded: list[Loaded | None] = []
        with asking():
            for start in range(0, len(position_ids), CHUNK):
                loaded += map(records.loaded, self._pipe_of(position_ids[start : start + CHUNK]).execute())
        return loaded

    def load_reachable(self, position_ids: Sequence[str]) -> dict[str, Loaded | None]:
        found: dict[str, Loaded | None] = {}
        with asking():
            for start in range(0, len(position_ids), CHUNK):
                chunk = position_ids[start : start + CHUNK]
                for position_id, state in zip(chunk, self._answers(self._pipe_of(chunk)), strict=True):
                    if not isinstance(state, Exception):
                        found[position_id] = records.loaded(state)
        return found

    def _pipe_of(self, position_ids: Sequence[str]) -> Any:
        pipe = self._redis.pipeline(transaction=False)
        for position_id in position_ids:
            pipe.hgetall(keys.state(position_id))
        return pipe

    def commit(self, change: Commit) -> Position | None:
        where, what, marks = self._script(change)
        with asking():
            if self._is_cluster:
                written = self._written_on_nodes(change, where, what, marks)
            else:
                written = int(self._commit(keys=where, args=what))
            if written == -1:
                raise LockLost(change.position.position_id)
            if written == 0:
                return None
            return self._stands(change)

    def commit_many(self, changes: Sequence[Commit]) -> list[Position | None]:
        if self._is_cluster:
            return [self._unless_away(change) for change in changes]
        pipe = self._redis.pipeline(transaction=False)
        for change in changes:
            where, what, _ = self._script(change)
            pipe.evalsha(self._commit.sha, len(where), *where, *what)
        with asking():
            try:
                answers = pipe.execute() if changes else []
            except NoScriptError:  # a new server: nothing was written, and a single commit brings the script
                return [self.commit(change) for change in changes]
            found = zip(changes, answers, strict=True)
            return [self._stands(change) if answer == 1 else None for change, answer in found]

    def _unless_away(self, change: Commit) -> Position | None:
        try:
            return self.commit(change)
        except PartUnavailable as error:
            log.warning("%s was not written: %s", change.position.position_id, error)
            return None

    def _stands(self, change: Commit) -> Position:
        """Return the position as it was written. Every now and then its orders are counted."""
        after = _after(change)
        if after.rev % LOOKED_AFTER == 0 or len(change.orders) > LOOKED_AFTER:
            self._bound_orders(after.position_id)
        return after

    def _bound_orders(self, position_id: str) -> None:
        """Forget the oldest finished orders once there are many. A live one always stays."""
        where = keys.orders(position_id)
        if self._redis.hlen(where) <= MOST_ORDERS:
            return
        rows = self._redis.hgetall(where)
        stale = records.stale_orders(rows)
        for start in range(0, len(stale), CHUNK):
            pairs = [text for name in stale[start : start + CHUNK] for text in (name, rows[name])]
            self._prune(keys=[where], args=pairs)

    def _script(self, change: Commit) -> tuple[list[str], list[str], list[Mark]]:
        """Return the commit script's keys and arguments, and the marks of the position in shared indexes.

        The script writes the marks and the events as well, but on a cluster, where they are in other slots.
        """
        before, after = change.position, _after(change)
        where = keys.commit_keys(before.position_id)
        over = before.rev if change.over is None else change.over
        marks = [*self._index(before, change), *self._outbox(change, int(not self._is_cluster))]
        beside = [] if self._is_cluster else [*marks, *_changed(change)]
        payload = records.payload(after, change, tells=not self._is_cluster, marks=beside)
        what = [change.token, str(over), jsonx.dumps(payload)]
        if over == 0:
            where.append(keys.gone(before.position_id))
            what.append("birth" if change.over is None else "restore")
        return where, what, marks

    def _written_on_nodes(self, change: Commit, where: list[str], what: list[str], marks: list[Mark]) -> int:
        """Index, write, publish on a cluster: in this order, so that an index names more than there is, never less.

        Only the position's own node must answer. Nodes are asked in no order, so what must come behind another mark is
        written once more behind all. The outbox's mark is raised behind the write: a relay that looked before it found
        nothing, and may have crossed it off.
        """
        self._marks.write(marks)
        written = int(self._commit(keys=where, args=what))
        try:
            queue(self._redis, _changed(change))
        except AWAY as error:
            name = change.position.position_id
            log.warning("a change of %s was not published, and is found by the next look: %s", name, error)
        behind = (keys.SYMBOLS, keys.open_positions(change.position.symbol))
        self._marks.write([*self._outbox(change, 1), *(mark for mark in marks if mark.args[0] in behind)])
        return written

    def leaves(self, change: Commit) -> bool:
        tells = not self._is_cluster
        return bool(change.quotas or change.alerts or change.ended_adds or (change.events and not tells))

    def _index(self, before: Position, change: Commit) -> list[Mark]:
        """Return the marks of a position that may lack them: a cluster may have lost them, a close takes them off.

        One that S4 must be asked about counts with the open ones, so that somebody does ask.
        """
        position_id, marks = before.position_id, []
        telling = [e for e in change.events if self._is_cluster or e.get("type") in ("ENTRY", "ADD")]
        if before.rev == 0 or change.over is not None or (before.is_open and telling) or before.unverified_from:
            marks.append(Mark("zadd", (keys.POSITIONS, {position_id: 0})))
            marks.append(Mark("sadd", (keys.open_positions(before.symbol), position_id)))
            marks.append(Mark("sadd", (keys.SYMBOLS, before.symbol)))
        if change.op is not None:
            marks.append(raised(keys.OPS, position_id, before.rev + 1))
        return marks

    @staticmethod
    def _outbox(change: Commit, again: int) -> list[Mark]:
        """The mark of what the commit puts into the outbox: before the write, higher (``again``) with or after it."""
        if not (change.snapshots or change.events or change.quotas or change.alerts or change.ended_adds):
            return []
        position = change.position
        return [raised(keys.OUTBOX, position.position_id, 2 * (position.rev + 1) + again)]

    def seen_order(self, position_id: str, client_order_id: str) -> Order | None:
        with asking():
            text = self._redis.hget(keys.orders(position_id), client_order_id)
        return from_fields(Order, jsonx.loads(text)) if text else None

    def seen_orders(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Order | None]:
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            for position_id, name in wanted:
                pipe.hget(keys.orders(position_id), name)
            texts = self._answers(pipe) if wanted else []
        found = zip(wanted, texts, strict=True)
        return {
            which: from_fields(Order, jsonx.loads(text)) if text else None
            for which, text in found
            if not isinstance(text, Exception)
        }

    def own_orders(self, position_id: str) -> list[Order]:
        with asking():
            rows = self._redis.hvals(keys.orders(position_id))
        return [from_fields(Order, jsonx.loads(text)) for text in rows]


def _after(change: Commit) -> Position:
    """Return the position as it stands once the change is written."""
    return replace(change.position, rev=change.position.rev + 1)


def _changed(change: Commit) -> list[Mark]:
    """Return the message that the marks at which a plan changes may be others: not while an operation goes on alone."""
    if change.op is not None and not change.events and change.over is None:
        return []
    p = change.position
    return [Mark("publish", (keys.CHANGED, f"{p.symbol} {p.position_id}"))]
