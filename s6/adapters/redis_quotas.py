"""Quotas in Redis: counters shared with the entry side, each move applied once, and room for adds reserved ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_part import SWAPS, RedisPart, asking, kept_changing
from s6.model.commit import Reservation
from s6.model.numbers import Fault, number
from s6.model.types import ZERO, plain
from s6.ports import Clock
from s6.rules.exact import exactly

MOVES_REMEMBERED_MS: Final = 30 * 24 * 3_600_000
NEVER_MS: Final = 9_000_000_000_000_000
WHOLE: Final = "restored"  # among the moves of a counter: it has lost nothing, or has it back


class RedisQuotas(RedisPart):
    """``s6.ports.Quotas``."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._reserve = redis.register_script(lua.RESERVE)
        self._take_off = redis.register_script(lua.TAKE_OFF)
        self._quota = redis.register_script(lua.QUOTA)

    def quota(self, key: str) -> Decimal:
        with asking():
            counted = _counted(self._redis.get(key))
        return Decimal("Infinity") if counted is None else counted

    def reserve_add(
        self,
        position_id: str,
        client_order_id: str,
        margin: Decimal,
        *,
        limit: int | None,
        room: Callable[[], Decimal] | None,
    ) -> bool:
        mine = records.reservation(Reservation(client_order_id, margin, self._clock.now_ms()))
        with asking():
            for _ in range(SWAPS):
                raw = self._redis.hgetall(keys.ADDS_AT_WORK)
                n = raw.pop("n", "")
                raw.pop(records.adding(position_id), None)
                if limit is not None and len(raw) >= limit:
                    return False
                with exactly():
                    wanted = sum((records.reserved(text).margin for text in raw.values()), margin)
                if room is not None and wanted > room():
                    return False
                args = [n, records.adding(position_id), mine, "n", int(n or 0) + 1]
                if self._reserve(keys=[keys.ADDS_AT_WORK], args=args):
                    return True
        raise kept_changing(keys.ADDS_AT_WORK)

    def release_add(self, position_id: str, client_order_id: str) -> None:
        with asking():
            self._take_off(keys=[keys.ADDS_AT_WORK], args=[records.adding(position_id), f"{client_order_id} "])

    def adds_reserved(self) -> dict[str, Reservation]:
        with asking():
            rows = self._redis.hgetall(keys.ADDS_AT_WORK)
        rows.pop("n", None)
        return {name.removeprefix(records.ADDING): records.reserved(text) for name, text in rows.items()}

    def move_quota(self, move: Mapping[str, Any]) -> str | None:
        """Move a counter by exact decimals, once per id, never below 0. One that is no number counts as 0.

        Returns what stood there instead of a number, None where one did.
        """
        if move.get("restores") and self._redis.zscore(keys.quota_applied(move["key"]), WHOLE) is not None:
            return None
        return self._count(move["key"], move["id"], Decimal(move["delta"]), self._clock.now_ms())

    def quota_whole(self, counter: str) -> None:
        """The note is lost with the counter, and never expires."""
        with asking():
            self._count(counter, WHOLE, ZERO, NEVER_MS)

    def _count(self, counter: str, move_id: str, delta: Decimal, ts: int) -> str | None:
        oldest = self._clock.now_ms() - MOVES_REMEMBERED_MS
        for _ in range(SWAPS):
            text = self._redis.get(counter) or ""
            counted = _counted(text)
            with exactly():
                new = max(ZERO, (counted or ZERO) + delta)
            args = [move_id, text.encode("utf-8", "surrogateescape"), plain(new), ts, oldest]
            applied = self._quota(keys=[counter, keys.quota_applied(counter)], args=args)
            if applied != -1:
                return text if applied and counted is None else None
        raise kept_changing(counter)


def _counted(text: str | None) -> Decimal | None:
    """Return the number in a counter, which the entry side writes as well; None where it is no number."""
    try:
        return number(text or "0")
    except Fault:
        return None
