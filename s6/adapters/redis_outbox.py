"""The outboxes of positions in Redis: events, quota moves and alerts on their way to others, snapshots to the store.

The process that commits relays the events at once. A claim keeps two relays of one position apart, so that order holds
and only a crash makes an event appear twice, under the same ``event_id``.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import NoScriptError

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_marks import AWAY
from s6.adapters.redis_part import asking
from s6.adapters.redis_quotas import RedisQuotas
from s6.model import jsonx
from s6.model.codec import from_fields
from s6.model.commit import Alert, Cleared, Doc, Waiting
from s6.model.wire import printable
from s6.ports import Clock

BATCH: Final = 200
ROUNDS: Final = 100


class RedisOutbox(RedisQuotas):
    """``s6.ports.Outbox``; the commits of ``RedisPositions`` put in what waits here."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._relayed = redis.register_script(lua.RELAYED)
        self._done = redis.register_script(lua.DONE_UNLESS_MORE)
        self._drop = redis.register_script(lua.DROP_TO)

    def relay_events(self, position_id: str, deliver: Callable[[Alert], object]) -> int:
        """Hand on what waits, in order. Returns the number handed on, 0 also when another relay holds the claim.

        Alerts go first: when one fails, no event has been written that the next relay would write again.
        """
        with asking():
            claim, waiting = keys.relay_claim(position_id), keys.events_outbox(position_id)
            token, total = secrets.token_hex(8), 0
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(claim.key, token, nx=True, px=claim.ttl_ms)
            pipe.lrange(waiting, 0, BATCH - 1)
            claimed, texts = pipe.execute()
            if not claimed:
                return 0
            for _ in range(ROUNDS):
                entries = [jsonx.loads(text) for text in texts]
                for entry in entries:
                    if "alert" in entry:
                        deliver(from_fields(Alert, entry["alert"]))
                self._publish([e["event"] for e in entries if "event" in e])
                for entry in entries:
                    if "quota" in entry and (odd := self.move_quota(entry["quota"])) is not None:
                        deliver(self._odd_counter(entry["quota"], odd))
                for entry in entries:
                    if "release" in entry:
                        self.release_add(entry["release"], entry["order"])
                left = int(self._relayed(keys=[claim.key, waiting], args=[token, len(entries)]))
                total += len(entries)
                if left <= 0:
                    return total
                texts = self._redis.lrange(waiting, 0, BATCH - 1)
            return total  # the outbox is still marked: once the claim expires, the relay goes on

    def _odd_counter(self, move: Mapping[str, Any], text: str) -> Alert:
        now, counter = self._clock.now_ms(), move["key"]
        place = hashlib.sha256(f"{counter} {move['id']}".encode()).hexdigest()[:12]
        detail = f"{counter} was no number ({printable(text):.100}): it is counted from 0"
        return Alert(f"al-{now}-{place}", now, "ERROR", "QUOTA_MALFORMED", "", detail)

    def _publish(self, events: list[Mapping[str, Any]]) -> None:
        if not events:
            return
        pipe = self._redis.pipeline(transaction=False)
        for event in events:
            pipe.xadd(keys.events(event["symbol"]), dict(event), maxlen=records.EVENTS_KEPT, approximate=True)
        pipe.execute()

    def outbox_ids(self, limit: int) -> list[tuple[str, float]]:
        with asking():
            self._pay_marks()
            return [(str(m), float(s)) for m, s in self._redis.zrange(keys.OUTBOX, 0, limit - 1, withscores=True)]

    def outbox_peek(self, position_id: str, limit: int) -> list[Doc]:
        with asking():
            return [jsonx.loads(text) for text in self._redis.lrange(keys.snaps_outbox(position_id), 0, limit - 1)]

    def outbox_read(self, position_ids: Sequence[str], limit: int) -> dict[str, Waiting]:
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            for position_id in position_ids:
                pipe.llen(keys.events_outbox(position_id))
                pipe.lrange(keys.snaps_outbox(position_id), 0, limit - 1)
            rows = self._answers(pipe) if position_ids else []
        return {
            position_id: Waiting(int(events), [jsonx.loads(text) for text in texts])
            for position_id, events, texts in zip(position_ids, rows[::2], rows[1::2], strict=True)
            if not isinstance(events, Exception) and not isinstance(texts, Exception)
        }

    def outbox_snapshots(self, position_ids: Sequence[str], limit: int) -> dict[str, list[Doc]]:
        with asking():
            pipe = self._redis.pipeline(transaction=False)
            for position_id in position_ids:
                pipe.lrange(keys.snaps_outbox(position_id), 0, limit - 1)
            rows = self._answers(pipe) if position_ids else []
        return {
            position_id: [jsonx.loads(text) for text in texts]
            for position_id, texts in zip(position_ids, rows, strict=True)
            if not isinstance(texts, Exception)
        }

    def outbox_clear(self, cleared: Sequence[Cleared]) -> list[str]:
        """Positions leave the list only when no events wait either: another relay may be at those."""
        with asking():
            lists = [[keys.snaps_outbox(c.position_id), keys.events_outbox(c.position_id)] for c in cleared]
            calls = [(where, [c.number, c.last_key]) for where, c in zip(lists, cleared, strict=True)]
            left = self._play(self._drop, calls)
            done = [c for c, events in zip(cleared, left, strict=True) if c.seen is not None and events == 0]
            for start in range(0, len(done), BATCH):
                args = [arg for c in done[start : start + BATCH] for arg in (c.position_id, c.seen)]
                self._play(self._done, [([keys.OUTBOX], args)])
        return [c.position_id for c, events in zip(cleared, left, strict=True) if events]

    def _play(self, script: Any, calls: Sequence[tuple[list[str], list[Any]]]) -> list[Any]:
        """Run one script many times: in one round trip, except in a cluster. Each run must be harmless to repeat.

        Returns the answers, None in the place of one of a cluster's nodes that is away.
        """
        if not calls:
            return []
        if not self._is_cluster:
            pipe = self._redis.pipeline(transaction=False)
            for where, what in calls:
                pipe.evalsha(script.sha, len(where), *where, *what)
            with suppress(NoScriptError):  # a new server: the calls below bring the script
                return list(pipe.execute())
        answers: list[Any] = []
        for where, what in calls:
            try:
                answers.append(script(keys=where, args=what))
            except AWAY:
                if not self._is_cluster:
                    raise
                answers.append(None)
        return answers

    def outbox_size(self) -> int:
        """Return how many snapshots wait, over all positions."""
        with asking():
            ids = self._redis.zrange(keys.OUTBOX, 0, -1)
            pipe = self._redis.pipeline(transaction=False)
            for position_id in ids:
                pipe.llen(keys.snaps_outbox(position_id))
            return sum(pipe.execute()) if ids else 0
