"""The outboxes of positions in Redis: events and quota moves on their way to others, snapshots on theirs to the store.

Events are relayed by whoever committed, at once; a claim keeps two relays of one position apart, so that order holds
and nothing is written twice short of a crash (and then under the same ``event_id``).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from s6 import jsonx, keys
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.model.types import ZERO, plain
from s6.ports import Clock, Doc

CLAIM_MS: Final = 5_000
EVENTS_KEPT: Final = 100_000
BATCH: Final = 200
MOVES_REMEMBERED_MS: Final = 30 * 24 * 3_600_000


class RedisOutbox:
    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        self._redis: Any = redis  # redis-py calls every answer bytes | str; with decode_responses it is str
        self._clock = clock
        self._relayed = redis.register_script(lua.RELAYED)
        self._done = redis.register_script(lua.DONE_UNLESS_MORE)
        self._drop = redis.register_script(lua.DROP_TO)
        self._quota = redis.register_script(lua.QUOTA)

    def relay_events(self, position_id: str) -> int:
        """Hand on what waits, in order; the number handed on. 0 as well when another relay is at it: it takes ours."""
        claim, waiting = keys.relay_claim(position_id), keys.events_outbox(position_id)
        token, total = secrets.token_hex(8), 0
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(claim, token, nx=True, px=CLAIM_MS)
        pipe.lrange(waiting, 0, BATCH - 1)
        claimed, texts = pipe.execute()
        if not claimed:
            return 0
        while True:
            entries = [jsonx.loads(text) for text in texts]
            self._publish([e["event"] for e in entries if "event" in e])
            for entry in entries:
                if "quota" in entry:
                    self._move(entry["quota"])
            left = int(self._relayed(keys=[claim, waiting], args=[token, len(entries)]))
            total += len(entries)
            if left <= 0:
                return total
            texts = self._redis.lrange(waiting, 0, BATCH - 1)

    def _publish(self, events: list[Mapping[str, Any]]) -> None:
        if not events:
            return
        pipe = self._redis.pipeline(transaction=False)
        for event in events:
            pipe.xadd(keys.events(event["symbol"]), dict(event), maxlen=EVENTS_KEPT, approximate=True)
        pipe.execute()

    def _move(self, move: Mapping[str, Any]) -> None:
        """Move a counter by exact decimals, once per id, never below 0."""
        counter, delta = move["key"], Decimal(move["delta"])
        now = self._clock.now_ms()
        while True:
            text = self._redis.get(counter) or ""
            new = max(ZERO, Decimal(text or "0") + delta)
            args = [move["id"], text, plain(new), now, now - MOVES_REMEMBERED_MS]
            if self._quota(keys=[counter, keys.quota_applied(counter)], args=args) != -1:
                return

    def peek(self, position_id: str, limit: int) -> list[Doc]:
        return [jsonx.loads(text) for text in self._redis.lrange(keys.snaps_outbox(position_id), 0, limit - 1)]

    def drop(self, position_id: str, last_key: str, count: int) -> None:
        self._drop(keys=[keys.snaps_outbox(position_id)], args=[count, last_key])

    def done(self, position_id: str, seen: float) -> None:
        """Off the list, unless something was put in since ``seen`` or events still wait (another relay has them)."""
        if not self._redis.llen(keys.events_outbox(position_id)):
            self._done(keys=[keys.OUTBOX], args=[position_id, seen])

    def size(self) -> int:
        """How many snapshots wait, over all positions."""
        ids = self._redis.zrange(keys.OUTBOX, 0, -1)
        pipe = self._redis.pipeline(transaction=False)
        for position_id in ids:
            pipe.llen(keys.snaps_outbox(position_id))
        return sum(pipe.execute()) if ids else 0
