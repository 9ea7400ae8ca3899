"""The consumer group ``s6``: which entries went to which consumer, and which of them are acknowledged."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from redis.cluster import RedisCluster
from redis.exceptions import ResponseError

from s6.adapters.redis_client import RedisClient
from s6.listener.streams import BLOCK_MS, COUNT, REST_S, Entry, entries_of

GROUP: Final = "s6"
LOOK: Final = 5_000
HURRIED_S: Final = 0.005

# Deleting a consumer drops what it holds, so looking and deleting are one.
# KEYS: stream · ARGV: group, idle ms, a consumer to be spared · Returns how many were deleted.
_TIDY: Final = """
if redis.replicate_commands then redis.replicate_commands() end
local all = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if all.err then return 0 end
local deleted = 0
for _, pairs in ipairs(all) do
  local c = {}
  for i = 1, #pairs, 2 do c[pairs[i]] = pairs[i + 1] end
  if c.pending == 0 and c.idle >= tonumber(ARGV[2]) and c.name ~= ARGV[3] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], c.name)
    deleted = deleted + 1
  end
end
return deleted
"""


class Pending(NamedTuple):
    """An entry that was delivered and not acknowledged: its consumer, and how often it was delivered."""

    entry_id: str
    consumer: str
    deliveries: int


class GroupReader:
    """A consumer of the group ``s6`` over many streams. All methods raise ``RedisError``.

    It asks each stream by a command of its own, all in one round trip, so that a cluster answers as well.
    """

    def __init__(self, redis: RedisClient, consumer: str) -> None:
        self._redis: Any = redis
        self.consumer = consumer
        self._grouped: set[str] = set()

    def read(self, names: list[str], *, hurried: bool = False) -> list[Entry]:
        """Wait a little for new entries, very little if ``hurried``. Returns them, each stream's in its order."""
        self._ensure(names)
        # A server that idles looks after blocked clients ten times a second: a short block would be a long one.
        blocks = bool(names) and not hurried and not isinstance(self._redis, RedisCluster)
        found = self._new(names, BLOCK_MS if blocks else None) if names else []
        if not found and not blocks:
            time.sleep(HURRIED_S if hurried else REST_S)
        return found

    def _new(self, names: list[str], block_ms: int | None) -> list[Entry]:
        if isinstance(self._redis, RedisCluster):
            pipe = self._pipe()
            for name in names:
                pipe.xreadgroup(GROUP, self.consumer, {name: ">"}, count=COUNT)
            return [entry for answer in self._answers(pipe) for entry in entries_of(answer)]
        try:
            last = dict.fromkeys(names, ">")
            return entries_of(self._redis.xreadgroup(GROUP, self.consumer, last, count=COUNT, block=block_ms))
        except ResponseError as error:
            self._missing(error)
            return []

    def unfinished(self, names: list[str]) -> list[Entry]:
        """Return entries that were delivered to this consumer and not acknowledged, in their order."""
        self._ensure(names)
        found: list[Entry] = []
        after = dict.fromkeys(names, "0")
        while after:
            pipe = self._pipe()
            for name, entry_id in after.items():
                pipe.xreadgroup(GROUP, self.consumer, {name: entry_id}, count=COUNT)
            pages = [entries_of(answer) for answer in self._answers(pipe)]
            found += [entry for page in pages for entry in page]
            after = {page[-1].stream: page[-1].entry_id for page in pages if len(page) == COUNT}
        return found

    def left_behind(self, names: list[str], idle_ms: int) -> list[Entry]:
        """Claim entries that any consumer got ``idle_ms`` ago and did not acknowledge. Returns them."""
        self._ensure(names)
        pipe = self._pipe()
        for name in names:
            pipe.xautoclaim(name, GROUP, self.consumer, min_idle_time=idle_ms, start_id="0-0", count=COUNT)
        return [
            Entry(name, entry_id, fields)
            for name, answer in zip(names, self._answers(pipe), strict=True)
            for entry_id, fields in (answer[1] if answer else ())
            if fields is not None
        ]

    def pending(self, upto: Mapping[str, str]) -> dict[str, list[Pending]]:
        """Return each stream's first ``LOOK`` pending entries up to a given one, whichever consumer holds them."""
        pipe = self._pipe()
        for name, entry_id in upto.items():
            pipe.xpending_range(name, GROUP, "-", entry_id, LOOK)
        return {
            name: [Pending(p["message_id"], p["consumer"], int(p["times_delivered"])) for p in answer or ()]
            for name, answer in zip(upto, self._answers(pipe), strict=True)
        }

    def fields(self, entries: list[tuple[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
        """Fetch entries by (stream, id), whichever consumer holds them. Trimmed entries come back empty."""
        if not entries:
            return {}
        pipe = self._pipe()
        for name, entry_id in entries:
            pipe.xrange(name, entry_id, entry_id)
        found = zip(entries, self._answers(pipe), strict=True)
        return {where: dict(answer[0][1]) if answer else {} for where, answer in found}

    def keep(self, entries: Mapping[str, Iterable[str]]) -> None:
        """Reset these entries' idle time, so that no other consumer claims them. Counts no delivery."""
        pipe = self._pipe()
        for name, ids in entries.items():
            pipe.xclaim(name, GROUP, self.consumer, min_idle_time=0, message_ids=list(ids), justid=True)
        self._answers(pipe)

    def done(self, entries: Iterable[Entry]) -> None:
        """Acknowledge entries."""
        by_stream: dict[str, list[str]] = {}
        for entry in entries:
            by_stream.setdefault(entry.stream, []).append(entry.entry_id)
        pipe = self._pipe()
        for name, ids in by_stream.items():
            pipe.xack(name, GROUP, *ids)
        if by_stream:
            pipe.execute()

    def tidy(self, names: list[str], idle_ms: int) -> int:
        """Delete consumers that have been idle for ``idle_ms`` and hold nothing. Returns how many."""
        if not names:
            return 0
        pipe = self._pipe()
        for name in names:
            pipe.eval(_TIDY, 1, name, GROUP, idle_ms, self.consumer)
        return sum(answer or 0 for answer in self._answers(pipe))

    def forget(self) -> None:
        """Check for every group anew: Redis may have come back without them."""
        self._grouped.clear()

    def _ensure(self, names: list[str]) -> None:
        for name in names:
            if name in self._grouped:
                continue
            try:
                self._redis.xgroup_create(name, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
            self._grouped.add(name)

    def _pipe(self) -> Any:
        return self._redis.pipeline(transaction=False)

    def _answers(self, pipe: Any) -> list[Any]:
        """Return one answer for each command, None where the group is missing. Raises any other error."""
        answers = pipe.execute(raise_on_error=False)
        for number, answer in enumerate(answers):
            if isinstance(answer, Exception):
                self._missing(answer)
                answers[number] = None
        return list(answers)

    def _missing(self, error: Exception) -> None:
        """Note that Redis came back without its groups: they are made anew, from the beginning of their streams."""
        if not isinstance(error, ResponseError) or "NOGROUP" not in str(error):
            raise error
        self._grouped.clear()
