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
from s6.ports import Clock, LockLost

log = logging.getLogger(__name__)
CHUNK: Final = 500
MOST_ORDERS: Final = 512
"""So many orders of a position may be remembered before the oldest finished ones are forgotten."""


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
                rows = self._pipe_of(position_ids[start : start + CHUNK]).execute()
                loaded += [records.loaded(rows[i], rows[i + 1]) for i in range(0, len(rows), 2)]
        return loaded

    def load_reachable(self, position_ids: Sequence[str]) -> dict[str, Loaded | None]:
        found: dict[str, Loaded | None] = {}
        with asking():
            for start in range(0, len(position_ids), CHUNK):
                chunk = position_ids[start : start + CHUNK]
                rows = self._answers(self._pipe_of(chunk))
                for position_id, state, op in zip(chunk, rows[::2], rows[1::2], strict=True):
                    if not isinstance(state, Exception) and not isinstance(op, Exception):
                        found[position_id] = records.loaded(state, op)
        return found

    def _pipe_of(self, position_ids: Sequence[str]) -> Any:
        pipe = self._redis.pipeline(transaction=False)
        for position_id in position_ids:
            pipe.hgetall(keys.state(position_id))
            pipe.hgetall(keys.operation(position_id))
        return pipe

    def commit(self, change: Commit) -> Position | None:
        before = change.position
        after = replace(before, rev=before.rev + 1)
        with asking():
            written = self._written(before, after, change)
            if written == -1:
                raise LockLost(before.position_id)
            if written == 0:
                return None
            if change.orders:
                self._bound_orders(before.position_id)
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

    def _written(self, before: Position, after: Position, change: Commit) -> int:
        """Index, write, publish: in this order, so that an index names more than there is, never less.

        On a single server one pipeline is enough; a cluster's keeps no order between nodes. The outbox is marked once
        more after the write, because a relay that looked in between found nothing and may have crossed it off.
        """
        where = keys.commit_keys(before.position_id)
        over = before.rev if change.over is None else change.over
        what = [change.token, str(over), jsonx.dumps(records.payload(after, change))]
        if over == 0:
            where.append(keys.gone(before.position_id))
            what.append("birth" if change.over is None else "restore")
        changed = f"{after.symbol} {after.position_id}"
        marks, outbox = [*self._index(before, change), *self._outbox(change, 0)], self._outbox(change, 1)
        if self._is_cluster:
            return self._written_on_nodes(marks, where, what, changed, outbox)
        pipe = self._redis.pipeline(transaction=False)
        queue(pipe, marks)
        pipe.evalsha(self._commit.sha, len(where), *where, *what)
        pipe.publish(keys.CHANGED, changed)
        queue(pipe, outbox)
        try:
            return int(pipe.execute()[-2 - len(outbox)])
        except NoScriptError:  # a new server: nothing was written, and the call below sends the script
            written = int(self._commit(keys=where, args=what))
            self._redis.publish(keys.CHANGED, changed)
            queue(self._redis, self._outbox(change, 2))
            return written

    def _written_on_nodes(
        self, marks: list[Mark], where: list[str], what: list[str], changed: str, outbox: list[Mark]
    ) -> int:
        """Do the same on a cluster. Only the position's own node must answer.

        Nodes are asked in no order, so what must come behind another mark is written once more behind all.
        """
        self._marks.write(marks)
        written = int(self._commit(keys=where, args=what))
        try:
            self._redis.publish(keys.CHANGED, changed)
        except AWAY as error:
            log.warning("a change of %s was not published, and is found by the next look: %s", changed, error)
        self._marks.write([*outbox, *(mark for mark in marks if mark.args[0] == keys.SYMBOLS)])
        return written

    @staticmethod
    def _index(before: Position, change: Commit) -> list[Mark]:
        position_id, marks = before.position_id, []
        if before.rev == 0 or change.over is not None or (before.is_open and change.events):
            marks.append(Mark("zadd", (keys.POSITIONS, {position_id: 0})))
            marks.append(Mark("sadd", (keys.open_positions(before.symbol), position_id)))
            marks.append(Mark("sadd", (keys.SYMBOLS, before.symbol)))
        if change.op is not None:
            marks.append(raised(keys.OPS, position_id, before.rev + 1))
        return marks

    @staticmethod
    def _outbox(change: Commit, again: int) -> list[Mark]:
        """The mark of what the commit puts into the outbox: before the write, and higher ``again`` (1, 2) after it."""
        if not (change.snapshots or change.events or change.quotas or change.alerts or change.ended_adds):
            return []
        position = change.position
        return [raised(keys.OUTBOX, position.position_id, 3 * (position.rev + 1) + again)]

    def seen_order(self, position_id: str, client_order_id: str) -> Order | None:
        with asking():
            text = self._redis.hget(keys.orders(position_id), client_order_id)
        return from_fields(Order, jsonx.loads(text)) if text else None

    def own_orders(self, position_id: str) -> list[Order]:
        with asking():
            rows = self._redis.hvals(keys.orders(position_id))
        return [from_fields(Order, jsonx.loads(text)) for text in rows]
