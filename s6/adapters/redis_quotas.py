"""Quotas in Redis: counters shared with the entry side, each move applied once, and room for adds reserved ahead."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_part import SWAPS, RedisPart, asking, kept_changing
from s6.model.types import ZERO, plain
from s6.ports import Clock

MOVES_REMEMBERED_MS: Final = 30 * 24 * 3_600_000
NEVER_MS: Final = 9_000_000_000_000_000
WHOLE: Final = "restored"  # among the moves of a counter: it has lost nothing, or has it back


class RedisQuotas(RedisPart):
    """``s6.ports.Quotas``."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._swap = redis.register_script(lua.SWAP)
        self._quota = redis.register_script(lua.QUOTA)

    def quota(self, key: str) -> Decimal:
        with asking():
            return Decimal(self._redis.get(key) or "0")

    def reserve_add(self, position_id: str, margin: Decimal, *, limit: int | None, room: Decimal | None) -> bool:
        with asking():
            for _ in range(SWAPS):
                raw = self._redis.hgetall(keys.ADDS_AT_WORK)
                n = raw.pop("n", "")
                raw.pop(records.adding(position_id), None)
                if limit is not None and len(raw) >= limit:
                    return False
                if room is not None and sum(map(Decimal, raw.values()), margin) > room:
                    return False
                args = [n, records.adding(position_id), plain(margin), "n", int(n or 0) + 1]
                if self._swap(keys=[keys.ADDS_AT_WORK], args=args):
                    return True
        raise kept_changing(keys.ADDS_AT_WORK)

    def release_add(self, position_id: str) -> None:
        with asking():
            self._redis.hdel(keys.ADDS_AT_WORK, records.adding(position_id))

    def adds_reserved(self) -> list[str]:
        with asking():
            fields = self._redis.hkeys(keys.ADDS_AT_WORK)
        return [name.removeprefix(records.ADDING) for name in fields if name.startswith(records.ADDING)]

    def move_quota(self, move: Mapping[str, Any]) -> None:
        """Move a counter by exact decimals, once per id, never below 0."""
        if move.get("restores") and self._redis.zscore(keys.quota_applied(move["key"]), WHOLE) is not None:
            return
        self._count(move["key"], move["id"], Decimal(move["delta"]), self._clock.now_ms())

    def quota_whole(self, counter: str) -> None:
        """The note is lost with the counter, and never expires."""
        with asking():
            self._count(counter, WHOLE, ZERO, NEVER_MS)

    def _count(self, counter: str, move_id: str, delta: Decimal, ts: int) -> None:
        oldest = self._clock.now_ms() - MOVES_REMEMBERED_MS
        for _ in range(SWAPS):
            text = self._redis.get(counter) or ""
            new = max(ZERO, Decimal(text or "0") + delta)
            args = [move_id, text, plain(new), ts, oldest]
            if self._quota(keys=[counter, keys.quota_applied(counter)], args=args) != -1:
                return
        raise kept_changing(counter)
