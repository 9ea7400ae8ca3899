"""The live state in Redis (single, Sentinel or Cluster): positions, operations, locks, outboxes, markets."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, RedisError

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_outbox import RedisOutbox
from s6.model import jsonx
from s6.model.codec import from_fields, to_fields
from s6.model.commit import Alert, Cleared, Commit, Doc, Loaded, Waiting
from s6.model.market import Extremes, Features, MarketView, Tick
from s6.model.position import Order, Position
from s6.model.types import plain
from s6.ports import Clock, LockLost, StateUnavailable

CHUNK: Final = 500
SWAPS: Final = 200
AT_WORK: Final = "id:"  # tells positions from the hash's own counter


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise StateUnavailable(f"Redis: {type(error).__name__}: {error}") from error


class RedisState:
    """``s6.ports.State`` over a Redis client that never repeats a command by itself."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        self._redis: Any = redis  # redis-py calls every answer bytes | str; with decode_responses it is str
        self._clock = clock
        self._is_cluster = isinstance(redis, RedisCluster)
        self._commit = redis.register_script(lua.COMMIT)
        self._done = redis.register_script(lua.DONE_UNLESS_MORE)
        self._release = redis.register_script(lua.RELEASE)
        self._put_newer = redis.register_script(lua.PUT_NEWER)
        self._swap = redis.register_script(lua.SWAP)
        self._drop_if = redis.register_script(lua.DROP_IF)
        self._outbox = RedisOutbox(redis, clock)

    # -- positions ---------------------------------------------------------------------------------------------

    def load(self, position_id: str) -> Loaded | None:
        return self.load_many([position_id])[0]

    def load_many(self, position_ids: Sequence[str]) -> list[Loaded | None]:
        loaded: list[Loaded | None] = []
        with _asking():
            for start in range(0, len(position_ids), CHUNK):
                pipe = self._redis.pipeline(transaction=False)
                for position_id in position_ids[start : start + CHUNK]:
                    pipe.hgetall(keys.state(position_id))
                    pipe.hgetall(keys.operation(position_id))
                rows = pipe.execute()
                loaded += [records.loaded(rows[i], rows[i + 1]) for i in range(0, len(rows), 2)]
        return loaded

    def commit(self, change: Commit) -> Position | None:
        before = change.position
        after = replace(before, rev=before.rev + 1)
        with _asking():
            written = self._written(before, after, change)
            if written == -1:
                raise LockLost(before.position_id)
            if written == 0:
                return None
            if any(o.kind == "ADD" and not o.live for o in change.orders):
                self._redis.hdel(keys.ADDS_AT_WORK, _at_work(before.position_id))
        return after

    def _written(self, before: Position, after: Position, change: Commit) -> int:
        """Index, write, tell: in this order, so that an index names more than there is, never less.

        One pipeline does on a single server; a cluster's doesn't keep the order between nodes. The outbox is marked
        once more behind the write: a relay that looked in between found nothing, and must not cross it off for that.
        """
        pipe = self._redis.pipeline(transaction=False)
        self._index(pipe, before, change)
        where = keys.commit_keys(before.position_id)
        over = before.rev if change.over is None else change.over
        what = [change.token, str(over), jsonx.dumps(records.payload(after, change))]
        told = f"{after.symbol} {after.position_id}"
        if not self._is_cluster:
            pipe.evalsha(self._commit.sha, len(where), *where, *what)
            pipe.publish(keys.CHANGED, told)
            marked = self._mark_outbox(pipe, change)
            try:
                return int(pipe.execute()[-3 if marked else -2])
            except NoScriptError:
                pass  # a new server: nothing was written, and the call below brings the script
        pipe.execute()
        written = int(self._commit(keys=where, args=what))
        self._redis.publish(keys.CHANGED, told)
        self._mark_outbox(self._redis, change)
        return written

    @classmethod
    def _index(cls, pipe: Any, before: Position, change: Commit) -> None:
        position_id = before.position_id
        if before.rev == 0 or change.over is not None or (before.is_open and change.events):
            pipe.zadd(keys.POSITIONS, {position_id: 0})
            pipe.sadd(keys.SYMBOLS, before.symbol)
            pipe.sadd(keys.open_positions(before.symbol), position_id)
        if change.op is not None:
            pipe.zincrby(keys.OPS, 1, position_id)
        cls._mark_outbox(pipe, change)

    @staticmethod
    def _mark_outbox(redis: Any, change: Commit) -> bool:
        if not (change.snapshots or change.events or change.quotas or change.alerts):
            return False
        redis.zincrby(keys.OUTBOX, 1, change.position.position_id)
        return True

    def seen_order(self, position_id: str, client_order_id: str) -> Order | None:
        with _asking():
            text = self._redis.hget(keys.orders(position_id), client_order_id)
        return from_fields(Order, jsonx.loads(text)) if text else None

    def own_orders(self, position_id: str) -> list[Order]:
        with _asking():
            rows = self._redis.hvals(keys.orders(position_id))
        return [from_fields(Order, jsonx.loads(text)) for text in rows]

    def settled(self, position: Position) -> None:
        with _asking():
            self._redis.srem(keys.open_positions(position.symbol), position.position_id)

    def open_ids(self) -> Iterator[str]:
        with _asking():
            for symbol in sorted(self._redis.smembers(keys.SYMBOLS)):
                yield from self._redis.sscan_iter(keys.open_positions(symbol), count=1000)

    def ids_of(self, symbol: str) -> list[str]:
        with _asking():
            return list(self._redis.smembers(keys.open_positions(symbol)))

    def all_ids(self, *, after: str, limit: int) -> list[str]:
        with _asking():
            low = f"({after}" if after else "-"
            return list(self._redis.zrangebylex(keys.POSITIONS, low, "+", start=0, num=limit))

    def symbols(self) -> list[str]:
        with _asking():
            return sorted(self._redis.smembers(keys.SYMBOLS))

    def ops_in_flight(self) -> list[tuple[str, float]]:
        with _asking():
            return [(str(m), float(s)) for m, s in self._redis.zrange(keys.OPS, 0, -1, withscores=True)]

    def op_settled(self, position_id: str, seen: float) -> None:
        with _asking():
            self._done(keys=[keys.OPS], args=[position_id, seen])

    # -- locks -------------------------------------------------------------------------------------------------

    def lock(self, key: str, ttl_ms: int) -> str | None:
        token = secrets.token_hex(16)
        try:
            return token if self._redis.set(key, token, nx=True, px=ttl_ms) else None
        except RedisError as error:
            raise StateUnavailable(f"Redis: {error}") from error

    def lock_and_load(self, position_id: str, ttl_ms: int) -> tuple[str | None, Loaded | None]:
        key, token = keys.position_lock(position_id).key, secrets.token_hex(16)
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(key, token, nx=True, px=ttl_ms)
            pipe.hgetall(keys.state(position_id))
            pipe.hgetall(keys.operation(position_id))
            taken, state, op = pipe.execute()
        except RedisError as error:
            with suppress(RedisError):
                self._release(keys=[key], args=[token])  # it may have been taken: nobody is to wait for its TTL
            raise StateUnavailable(f"Redis: {type(error).__name__}: {error}") from error
        return (token, records.loaded(state, op)) if taken else (None, None)

    def unlock(self, key: str, token: str) -> bool:
        with _asking():
            return bool(self._release(keys=[key], args=[token]))

    # -- markets -----------------------------------------------------------------------------------------------

    def market(self, symbol: str, position_id: str = "") -> MarketView:
        with _asking():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(keys.market(symbol))
            pipe.hgetall(keys.features(symbol))
            if position_id:
                pipe.hgetall(keys.crossing(position_id))
            tick, features, *crossing = pipe.execute()
        return records.view(symbol, tick, features, crossing[0] if crossing else {})

    def markets(self, symbols: Iterable[str]) -> dict[str, MarketView]:
        names = list(symbols)
        with _asking():
            pipe = self._redis.pipeline(transaction=False)
            for symbol in names:
                pipe.hgetall(keys.market(symbol))
                pipe.hgetall(keys.features(symbol))
            rows = pipe.execute() if names else []
        return {symbol: records.view(symbol, rows[2 * i], rows[2 * i + 1]) for i, symbol in enumerate(names)}

    def put_tick(self, symbol: str, tick: Tick) -> None:
        with _asking():
            self._put_newer(keys=[keys.market(symbol)], args=[tick.ts, *records.flat(to_fields(tick))])

    def put_features(self, symbol: str, features: Features) -> None:
        with _asking():
            self._put_newer(keys=[keys.features(symbol)], args=[features.ts, *records.flat(to_fields(features))])

    def put_crossing(self, position_id: str, mark: Decimal, ts: int) -> None:
        key = keys.crossing(position_id)
        with _asking():
            for _ in range(SWAPS):
                known = self._redis.hgetall(key)
                n = known.get("n", "")
                changed: list[str | int] = []
                if not known or mark > Decimal(known["high"]):
                    changed += ["high", plain(mark), "high_ts", ts]
                if not known or mark < Decimal(known["low"]):
                    changed += ["low", plain(mark), "low_ts", ts]
                if not changed or self._swap(keys=[key], args=[n, *changed, "n", int(n or 0) + 1]):
                    return
        raise StateUnavailable(f"{key} kept changing: others wrote first {SWAPS} times")

    def clear_crossing(self, position_id: str, seen: Extremes) -> None:
        with _asking():
            self._drop_if(keys=[keys.crossing(position_id)], args=[str(seen.number)])

    # -- results that wait for their position ------------------------------------------------------------------

    def park(self, position_id: str, fields: Mapping[str, str], until_ts: int) -> None:
        with _asking():
            self._redis.zadd(keys.PARKED, {records.parcel(position_id, fields): until_ts}, nx=True)

    def parked(self, position_id: str) -> list[Mapping[str, str]]:
        with _asking():
            rows = self._redis.zrange(keys.PARKED, 0, -1)
        return [fields for owner, fields in map(records.unwrapped, rows) if owner == position_id]

    def unpark(self, position_id: str, fields: Mapping[str, str]) -> None:
        with _asking():
            self._redis.zrem(keys.PARKED, records.parcel(position_id, fields))

    def parked_overdue(self, now: int) -> list[tuple[str, Mapping[str, str]]]:
        with _asking():
            return [records.unwrapped(row) for row in self._redis.zrangebyscore(keys.PARKED, "-inf", now)]

    # -- outbox ------------------------------------------------------------------------------------------------

    def relay_events(self, position_id: str, tell: Callable[[Alert], object]) -> int:
        with _asking():
            return self._outbox.relay_events(position_id, tell)

    def outbox_ids(self, limit: int) -> list[tuple[str, float]]:
        with _asking():
            return [(str(m), float(s)) for m, s in self._redis.zrange(keys.OUTBOX, 0, limit - 1, withscores=True)]

    def outbox_peek(self, position_id: str, limit: int) -> list[Doc]:
        with _asking():
            return self._outbox.peek(position_id, limit)

    def outbox_read(self, position_ids: Sequence[str], limit: int) -> list[Waiting]:
        with _asking():
            return self._outbox.read(position_ids, limit)

    def outbox_clear(self, cleared: Sequence[Cleared]) -> None:
        with _asking():
            self._outbox.clear(cleared)

    def outbox_size(self) -> int:
        with _asking():
            return self._outbox.size()

    def note_sweep(self, now: int) -> None:
        with _asking():
            self._redis.hset(keys.SWEEP_LAST, mapping={"ts": now})

    # -- what Redis has lost -----------------------------------------------------------------------------------

    def may_be_lost(self, position_id: str) -> bool:
        with _asking():
            if not self._redis.exists(keys.RECONCILED):
                return True
            return bool(self._redis.zrangebylex(keys.POSITIONS, f"[{position_id}", f"[{position_id}", start=0, num=1))

    def doubt(self) -> None:
        with _asking():
            self._redis.delete(keys.RECONCILED)

    def torn(self, position_id: str) -> bool:
        with _asking():
            pipe = self._redis.pipeline(transaction=False)
            for name in (keys.ladder, keys.adds, keys.orders):
                pipe.exists(name(position_id))
            return not all(pipe.execute())

    def note_rebuilt(self, position_id: str) -> None:
        with _asking():
            self._redis.hset(keys.REBUILT, mapping={position_id: self._clock.now_ms()})

    def rebuilt(self) -> list[str]:
        with _asking():
            return sorted(self._redis.hkeys(keys.REBUILT))

    def rebuilt_done(self, position_id: str) -> None:
        with _asking():
            self._redis.hdel(keys.REBUILT, position_id)

    def quota_whole(self, key: str) -> None:
        with _asking():
            self._outbox.quota_whole(key)

    # -- budgets -----------------------------------------------------------------------------------------------

    def quota(self, key: str) -> Decimal:
        with _asking():
            return Decimal(self._redis.get(key) or "0")

    def reserve_add(self, position_id: str, margin: Decimal, *, limit: int | None, room: Decimal | None) -> bool:
        with _asking():
            for _ in range(SWAPS):
                raw = self._redis.hgetall(keys.ADDS_AT_WORK)
                n = raw.pop("n", "")
                raw.pop(_at_work(position_id), None)
                if limit is not None and len(raw) >= limit:
                    return False
                if room is not None and sum(map(Decimal, raw.values()), margin) > room:
                    return False
                args = [n, _at_work(position_id), plain(margin), "n", int(n or 0) + 1]
                if self._swap(keys=[keys.ADDS_AT_WORK], args=args):
                    return True
        raise StateUnavailable(f"{keys.ADDS_AT_WORK} kept changing: others wrote first {SWAPS} times")

    def release_add(self, position_id: str) -> None:
        with _asking():
            self._redis.hdel(keys.ADDS_AT_WORK, _at_work(position_id))

    def adds_reserved(self) -> list[str]:
        with _asking():
            fields = self._redis.hkeys(keys.ADDS_AT_WORK)
        return [name.removeprefix(AT_WORK) for name in fields if name.startswith(AT_WORK)]


def _at_work(position_id: str) -> str:
    return f"{AT_WORK}{position_id}"
