"""Which positions there are: all, the open ones, those with an operation. An index may name more than there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from s6 import keys
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_part import RedisPart, asking
from s6.model.position import Position
from s6.ports import Clock

GONE_KEPT: Final = 100_000


class RedisIndex(RedisPart):
    """``s6.ports.PositionIndex``; the commits of ``RedisPositions`` put positions in."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._done = redis.register_script(lua.DONE_UNLESS_MORE)
        self._forget = redis.register_script(lua.FORGET)

    def settled(self, position: Position) -> None:
        with asking():
            since = max(position.closed_ts, position.rebuilt_ts)
            self._redis.zadd(keys.CLOSED, {position.position_id: since})
            self._redis.srem(keys.open_positions(position.symbol), position.position_id)

    def closed_before(self, ts: int, limit: int) -> list[str]:
        with asking():
            return list(self._redis.zrangebyscore(keys.CLOSED, "-inf", ts, start=0, num=limit))

    def forget(self, position_id: str) -> bool:
        """Note it as gone, take it out of the indexes, then delete it: so a new life in between puts it back into the
        indexes, or finds it gone and asks the store. Where it stays it is put back here."""
        with asking():
            status, rev, symbol = self._redis.hmget(keys.state(position_id), ["status", "rev", "symbol"])
            if status == "CLOSED":
                self.note_gone({position_id: self._clock.now_ms()})
                self._redis.zrem(keys.POSITIONS, position_id)
                if not self._forget(keys=keys.kept_keys(position_id), args=[rev]):
                    self._redis.zadd(keys.POSITIONS, {position_id: 0})
                    return False
                self._drop_symbol(symbol)
            elif status:  # it lives anew, and is settled once more when it closes
                self._redis.zadd(keys.POSITIONS, {position_id: 0})
            self._redis.zrem(keys.CLOSED, position_id)
        return bool(status == "CLOSED")

    def note_gone(self, positions: Mapping[str, int]) -> None:
        with asking():
            if positions:
                self._redis.zadd(keys.GONE, positions)
                self._redis.zremrangebyrank(keys.GONE, 0, -GONE_KEPT - 1)

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
