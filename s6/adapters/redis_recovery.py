"""What is missing in Redis: results whose position is not known yet, and positions that may have been lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters.redis_part import RedisPart, asking
from s6.model.waiting import APART_MS


class RedisParking(RedisPart):
    """``s6.ports.Parking``."""

    def park(self, position_id: str, fields: Mapping[str, str], until_ts: int) -> None:
        with asking():
            self._redis.zadd(keys.PARKED, {records.parcel(position_id, fields): until_ts}, nx=True)

    def parked(self, position_id: str) -> list[Mapping[str, str]]:
        with asking():
            rows = self._redis.zrange(keys.PARKED, 0, -1)
        return [fields for owner, fields in map(records.unwrapped, rows) if owner == position_id]

    def parked_owners(self) -> set[str]:
        with asking():
            return {records.unwrapped(row)[0] for row in self._redis.zrange(keys.PARKED, 0, -1)}

    def unpark(self, position_id: str, fields: Mapping[str, str]) -> None:
        with asking():
            self._redis.zrem(keys.PARKED, records.parcel(position_id, fields))

    def parked_overdue(self, now: int, longest: int | None = None) -> list[tuple[str, Mapping[str, str]]]:
        with asking():
            rows = self._redis.zrangebyscore(keys.PARKED, "-inf", now)
            if longest is not None:
                rows += self._redis.zrangebyscore(keys.PARKED, now + longest + APART_MS + 1, "+inf")
            return [records.unwrapped(row) for row in rows]


class RedisLosses(RedisPart):
    """``s6.ports.Losses``."""

    def may_be_lost(self, position_id: str) -> bool:
        return bool(self.may_be_lost_many([position_id]))

    def may_be_lost_many(self, position_ids: Sequence[str]) -> set[str]:
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            pipe.exists(keys.RECONCILED)
            pipe.zmscore(keys.POSITIONS, position_ids)
            pipe.zmscore(keys.GONE, position_ids)
            whole, *scores = pipe.execute()
        if not whole:
            return set(position_ids)
        return {name for name, *each in zip(position_ids, *scores, strict=True) if each != [None, None]}

    def doubt(self) -> None:
        with asking():
            self._redis.delete(keys.RECONCILED)

    def torn(self, position_id: str) -> bool:
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            for name in (keys.ladder, keys.adds, keys.orders):
                pipe.exists(name(position_id))
            return not all(pipe.execute())

    def note_rebuilt(self, position_id: str) -> None:
        with asking():
            self._redis.hset(keys.REBUILT, mapping={position_id: self._clock.now_ms()})

    def rebuilt(self) -> list[str]:
        with asking():
            return sorted(self._redis.hkeys(keys.REBUILT))

    def rebuilt_done(self, position_id: str) -> None:
        with asking():
            self._redis.hdel(keys.REBUILT, position_id)
