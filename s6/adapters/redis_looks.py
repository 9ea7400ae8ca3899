"""The pending looks at positions, in Redis: those at once by when they were asked for, later ones by when due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from s6 import keys
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_marks import Mark
from s6.adapters.redis_nodes import NodeAway
from s6.adapters.redis_part import RedisPart, asking
from s6.ports import Clock

#: Taken off the time of an urgent look, so that it stands below every other.
URGENT: Final = 10_000_000_000_000
#: A delayed look that is pending may be so much (ms) later than another that is asked for, and stands for it.
SLACK_MS: Final = 100


class RedisLooks(RedisPart):
    """``s6.ports.PendingLooks``."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._take = redis.register_script(lua.DONE_UNLESS_MORE)

    def note_looks(self, position_ids: Sequence[str], now: int, *, urgent: bool = False) -> list[str]:
        score = now - URGENT if urgent else now
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            for position_id in position_ids:
                pipe.zadd(keys.LOOKS, {position_id: score}, lt=True, ch=True)
            changed = pipe.execute() if position_ids else []
        return [position_id for position_id, new in zip(position_ids, changed, strict=True) if new]

    def note_later_look(self, position_id: str, due: int) -> list[str]:
        with asking():
            pending = self._redis.zscore(keys.LOOKS_LATER, position_id)
            if pending is not None and pending <= due + SLACK_MS:
                return []
            sooner = self._redis.zadd(keys.LOOKS_LATER, {position_id: due}, lt=True, ch=True)
        return [position_id] if sooner else []

    def take_look(self, position_id: str, now: int) -> None:
        with asking():
            self._pay_marks()
            try:
                self._redis.zrem(keys.LOOKS, position_id)
                self._take(keys=[keys.LOOKS_LATER], args=[position_id, now])
            except NodeAway:  # a note that stayed would stand for looks that nobody sends; without one, one too many is
                self._marks.write(Mark("zrem", (key, position_id)) for key in (keys.LOOKS, keys.LOOKS_LATER))

    def overdue_looks(self, before: int, limit: int) -> list[tuple[str, bool]]:
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            pipe.zrangebyscore(keys.LOOKS, "-inf", before - URGENT, start=0, num=limit)
            pipe.zrangebyscore(keys.LOOKS, 0, before, start=0, num=limit)
            pipe.zrangebyscore(keys.LOOKS_LATER, "-inf", before, start=0, num=limit)
            answers = self._answers(pipe)
        urgent, asked, due = ([] if isinstance(answer, Exception) else answer for answer in answers)
        later = dict.fromkeys([*asked, *due], False)
        return list((later | dict.fromkeys(urgent, True)).items())[:limit]
