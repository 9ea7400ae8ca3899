"""Which positions there are: all, the open ones, those with an operation. An index may name more than there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_part import RedisPart, asking
from s6.model.position import Position
from s6.ports import Clock

GONE_KEPT: Final = 100_000
TRACE: Final = ("market", "side", "life", "rev", "seq", "op_count", "born_ts", "used_signals", "ladder")
"""Fields of a position, besides its symbol, that its next life goes on from."""


class RedisIndex(RedisPart):
    """``s6.ports.PositionIndex``; the commits of ``RedisPositions`` put positions in."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._done = redis.register_script(lua.DONE_UNLESS_MORE)
        self._forget = redis.register_script(lua.FORGET)
        self._settled = redis.register_script(lua.SETTLED)

    def settled(self, position: Position) -> None:
        since, name = max(position.closed_ts, position.rebuilt_ts), position.position_id
        closed, opened = keys.CLOSED, keys.open_positions(position.symbol)
        with asking():
            if self._is_cluster:
                self._redis.zadd(closed, {name: since})
                self._redis.srem(opened, name)
                if self._redis.hget(keys.state(name), "rev") != str(position.rev):  # written since, born anew maybe
                    self._redis.sadd(opened, name)
            else:
                self._settled(keys=[keys.state(name), closed, opened], args=[position.rev, name, since])

    def closed_before(self, ts: int, limit: int) -> list[str]:
        with asking():
            return list(self._redis.zrangebyscore(keys.CLOSED, "-inf", ts, start=0, num=limit))

    def forget(self, position_id: str) -> bool:
        """Note it as gone, take it out of the indexes, then delete it: so a new life in between puts it back into the
        indexes, or finds it gone and asks the store. Where it stays it is put back here."""
        with asking():
            known = self._redis.hmget(keys.state(position_id), ["status", "unverified_from", "symbol", *TRACE])
            status, unverified_from, symbol, *rest = known
            over = status == "CLOSED" and (unverified_from or "0") == "0"
            if over:
                self.note_gone({position_id: self._clock.now_ms()})
                self._redis.zrem(keys.POSITIONS, position_id)
                found = zip(("symbol", *TRACE), (symbol, *rest), strict=True)
                trace = {name: text for name, text in found if text is not None}
                where = [keys.gone(position_id), *keys.kept_keys(position_id)]
                if not self._forget(keys=where, args=[trace["rev"], *records.flat(trace)]):
                    self._redis.zadd(keys.POSITIONS, {position_id: 0})
                    return False
                self._drop_symbol(symbol)
            elif status:  # it lives anew or is to be verified, and is settled once more after that
                self._redis.zadd(keys.POSITIONS, {position_id: 0})
            self._redis.zrem(keys.CLOSED, position_id)
        return over

    def note_gone(self, positions: Mapping[str, int]) -> None:
        with asking():
            if not positions:
                return
            self._redis.zadd(keys.GONE, positions)
            oldest = self._redis.zrange(keys.GONE, 0, -GONE_KEPT - 1)
            for position_id in oldest:
                self._redis.delete(keys.gone(position_id))
            if oldest:
                self._redis.zrem(keys.GONE, *oldest)

    def trace(self, position_id: str) -> Mapping[str, str]:
        with asking():
            return dict(self._redis.hgetall(keys.gone(position_id)))

    def _drop_symbol(self, symbol: str) -> None:
        """Commits put a position in before its symbol: whoever comes in between is seen by the count or comes after."""
        self._redis.srem(keys.SYMBOLS, symbol)
        if self._redis.scard(keys.open_positions(symbol)):
            self._redis.sadd(keys.SYMBOLS, symbol)

    def open_ids(self) -> Iterator[str]:
        with asking():
            for symbol in sorted(self._redis.smembers(keys.SYMBOLS)):
                yield from self._redis.sscan_iter(keys.open_positions(symbol), count=1000)

    def ids_of(self, symbol: str) -> list[str]:
        with asking():
            return list(self._redis.smembers(keys.open_positions(symbol)))

    def all_ids(self, *, after: str, limit: int) -> list[str]:
        with asking():
            low = f"({after}" if after else "-"
            return list(self._redis.zrangebylex(keys.POSITIONS, low, "+", start=0, num=limit))

    def symbols(self) -> list[str]:
        with asking():
            return sorted(self._redis.smembers(keys.SYMBOLS))

    def ops_in_flight(self) -> list[tuple[str, float]]:
        with asking():
            self._pay_marks()
            return [(str(m), float(s)) for m, s in self._redis.zrange(keys.OPS, 0, -1, withscores=True)]

    def op_settled(self, position_id: str, seen: float) -> None:
        with asking():
            self._done(keys=[keys.OPS], args=[position_id, seen])

    def note_sweep(self, now: int) -> None:
        with asking():
            self._redis.hset(keys.SWEEP_LAST, mapping={"ts": now})
