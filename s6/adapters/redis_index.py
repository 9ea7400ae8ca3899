"""Which positions there are: all, the open ones, those with an operation. An index may name more than there is."""

from __future__ import annotations

from collections.abc import Iterator

from s6 import keys
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_part import RedisPart, asking
from s6.model.position import Position
from s6.ports import Clock


class RedisIndex(RedisPart):
    """``s6.ports.PositionIndex``; the commits of ``RedisPositions`` put positions in."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._done = redis.register_script(lua.DONE_UNLESS_MORE)

    def settled(self, position: Position) -> None:
        with asking():
            self._redis.srem(keys.open_positions(position.symbol), position.position_id)

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
            return [(str(m), float(s)) for m, s in self._redis.zrange(keys.OPS, 0, -1, withscores=True)]

    def op_settled(self, position_id: str, seen: float) -> None:
        with asking():
            self._done(keys=[keys.OPS], args=[position_id, seen])

    def note_sweep(self, now: int) -> None:
        with asking():
            self._redis.hset(keys.SWEEP_LAST, mapping={"ts": now})
