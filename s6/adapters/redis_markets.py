"""Markets in Redis: the newest tick and features of each symbol, and the marks that a position's triggers have seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_part import SWAPS, RedisPart, asking, kept_changing
from s6.model.codec import to_fields
from s6.model.market import Extremes, Features, MarketView, Tick
from s6.model.types import plain
from s6.model.waiting import APART_MS, in_force_since
from s6.ports import Clock


class RedisMarkets(RedisPart):
    """``s6.ports.Markets``."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._put_newer = redis.register_script(lua.PUT_NEWER)
        self._swap = redis.register_script(lua.SWAP)
        self._drop_if = redis.register_script(lua.DROP_IF)

    def market(self, symbol: str, position_id: str = "") -> MarketView:
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(keys.market(symbol))
            pipe.hgetall(keys.features(symbol))
            if position_id:
                pipe.hgetall(keys.crossing(position_id))
            tick, features, *crossing = pipe.execute()
        return records.view(symbol, tick, features, crossing[0] if crossing else {})

    def markets(self, symbols: Iterable[str]) -> dict[str, MarketView]:
        names = list(symbols)
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            for symbol in names:
                pipe.hgetall(keys.market(symbol))
                pipe.hgetall(keys.features(symbol))
            rows = self._answers(pipe) if names else []
        return {
            symbol: records.view(symbol, tick, features)
            for symbol, tick, features in zip(names, rows[::2], rows[1::2], strict=True)
            if not isinstance(tick, Exception) and not isinstance(features, Exception)
        }

    def put_tick(self, symbol: str, tick: Tick) -> None:
        with asking():
            self._put_newer(keys=[keys.market(symbol)], args=[tick.ts, self._latest(), *records.flat(to_fields(tick))])

    def put_features(self, symbol: str, features: Features) -> None:
        with asking():
            self._put_newer(
                keys=[keys.features(symbol)], args=[features.ts, self._latest(), *records.flat(to_fields(features))]
            )

    def _latest(self) -> int:
        """Return the latest time (ms) that what is kept may bear; a later one came before the clock was set back."""
        return self._clock.now_ms() + APART_MS

    def put_crossing(self, position_id: str, mark: Decimal, ts: int) -> None:
        key = keys.crossing(position_id)
        with asking():
            for _ in range(SWAPS):
                pipe = self._redis.pipeline(transaction=False)
                pipe.hgetall(key)
                pipe.hmget(keys.state(position_id), ["side", "sl_ts", "entry_ts"])
                known, (side, sl_ts, entry_ts) = pipe.execute()
                n = known.get("n", "")
                now = self._clock.now_ms()
                worst_since, best_since = (in_force_since(int(since or 0), now) for since in (sl_ts, entry_ts))
                low_since, high_since = (best_since, worst_since) if side == "SHORT" else (worst_since, best_since)
                changed: list[str | int] = []
                if _replaces(known, "high", 1, mark, ts, high_since):
                    changed += ["high", plain(mark), "high_ts", ts]
                if _replaces(known, "low", -1, mark, ts, low_since):
                    changed += ["low", plain(mark), "low_ts", ts]
                if not changed or self._swap(keys=[key], args=[n, *changed, "n", int(n or 0) + 1]):
                    return
        raise kept_changing(key)

    def clear_crossing(self, position_id: str, seen: Extremes) -> None:
        with asking():
            self._drop_if(keys=[keys.crossing(position_id)], args=[str(seen.number)])


def _replaces(known: Mapping[str, str], name: str, sign: int, mark: Decimal, ts: int, since: int) -> bool:
    """Return whether a mark takes the place of the extreme that is kept.

    An extreme from before ``since`` (ms), when the price that it is compared with came into force, decides nothing any
    more. So it gives way to any later mark, and takes no later one's place.
    """
    if not known:
        return True
    if ts < since:
        return False
    return int(known[f"{name}_ts"]) < since or (mark - Decimal(known[name])) * sign > 0
