"""Reads many streams whose names come and go, on any kind of Redis.

A single server answers for all of them in one blocking call. A cluster cannot block across slots, so one pipeline
asks for each stream, and a short rest follows when none had anything. Each of its nodes is read by a thread of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError, ResponseError

from s6.adapters.redis_client import RedisClient
from s6.keys import SYMBOLS
from s6.model.wire import NOT_UTF8
from s6.ports import Alerts

log = logging.getLogger(__name__)
BLOCK_MS: Final = 250
REST_S: Final = 0.02
COUNT: Final = 200
LANES: Final = 8
SCAN_S: Final = 0.25
ASKED_S: Final = 0.1
RECENT_MS: Final = 2_000
RECENT: Final = 1_000
ODD_S: Final = 10.0


class Entry(NamedTuple):
    """One entry of a stream."""

    stream: str
    entry_id: str
    fields: dict[str, str]


def entries_of(answer: Any) -> list[Entry]:
    """Return the entries in an answer of redis-py (pairs or, with RESP3, a mapping), without deleted ones."""
    if not answer:
        return []
    pairs = answer.items() if isinstance(answer, dict) else answer
    found = []
    for name, entries in pairs:
        if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], list | tuple):
            entries = entries[0]
        found += [Entry(name, i, f) for i, f in entries if f is not None]
    return found


class Lane(NamedTuple):
    """Every ``of``-th node of a cluster, which one thread reads: a node that hangs holds up this thread alone."""

    number: int
    of: int

    def nodes(self, cluster: RedisCluster) -> list[ClusterNode]:
        """Return its nodes."""
        return sorted(cluster.get_primaries(), key=lambda node: node.name)[self.number :: self.of]


def lanes(redis: RedisClient) -> list[Lane | None]:
    """Return a lane for each node of a cluster, up to eight; of a single server, None for the whole of it."""
    if not isinstance(redis, RedisCluster):
        return [None]
    count = max(1, min(len(redis.get_primaries()), LANES))
    return [Lane(number, count) for number in range(count)]


class Streams:
    """The names of the streams with a prefix: those of known symbols, and those that a scan has found.

    With a lane: those of them that are on its nodes.
    """

    def __init__(self, redis: RedisClient, prefix: str, lane: Lane | None = None) -> None:
        self._redis: Any = redis
        self._prefix = prefix
        self._lane = lane
        self._found: set[str] = set()
        self._scanned_at = 0.0
        self._symbols: set[str] = set()
        self._asked_at = 0.0
        self._named: list[str] = []
        self._odd: set[str] = set()
        self._odd_until = 0.0

    def names(self, symbols: Iterable[str]) -> list[str]:
        """Return all known names; look for new ones every quarter of a second. Raises ``RedisError``."""
        if time.monotonic() - self._scanned_at >= SCAN_S:
            began = time.monotonic()
            self._found.update(self._scan())
            # A scan of a large keyspace takes its time: rest ten times as long as it took.
            self._scanned_at = time.monotonic() + 10 * (time.monotonic() - began)
        known = {f"{self._prefix}{symbol}" for symbol in symbols}
        if self._lane is None:  # a lane scans its own nodes, and waits for no other
            known.update(f"{self._prefix}{symbol}" for symbol in self._held())
        if self._odd and time.monotonic() > self._odd_until:
            self._odd = set()
        self._named = sorted(name for name in (self._found | known) - self._odd if not NOT_UTF8.search(name))
        if self._lane is not None:
            ours = self._lane.nodes(self._redis)
            self._named = [name for name in self._named if self._redis.get_node_from_key(name) in ours]
        return self._named

    def _held(self) -> set[str]:
        """Return the symbols that have positions."""
        if time.monotonic() - self._asked_at >= ASKED_S:
            self._symbols = self._redis.smembers(SYMBOLS)
            self._asked_at = time.monotonic()
        return self._symbols

    def _scan(self) -> Iterator[str]:
        what: dict[str, Any] = {"match": f"{self._prefix}*", "count": 5000, "_type": "stream"}
        if self._lane is not None:
            what["target_nodes"] = self._lane.nodes(self._redis)
        names: Iterator[str] = self._redis.scan_iter(**what)
        return names

    def leave_out(self) -> list[str]:
        """Find names that hold something else than a stream, and leave them out for 10 s. Raises ``RedisError``."""
        pipe = self._redis.pipeline(transaction=False)
        for name in self._named:
            pipe.type(name)
        kinds = zip(self._named, pipe.execute() if self._named else (), strict=True)
        odd = {name for name, kind in kinds if kind not in ("stream", "none")}
        self._odd |= odd
        self._odd_until = time.monotonic() + ODD_S
        return sorted(odd)


def leave_out_odd(streams: Streams, alerts: Alerts, error: Exception) -> None:
    """Leave out what holds something else than a stream, if that is why Redis refused a command, and raise alerts."""
    if not isinstance(error, ResponseError) or "WRONGTYPE" not in str(error):
        return
    try:
        odd = streams.leave_out()
    except RedisError as fault:
        log.warning("streams not looked at: %s", fault)
        return
    for name in odd:
        alerts.raise_alert("ERROR", "READER_FAULT", f"{name} is no stream and is not read", scope=name)


class TailReader:
    """Reads streams from its own place in them: every copy of a process sees every entry.

    Threads share it, each with streams of its own.
    """

    def __init__(self, redis: RedisClient, begin_with_last: int) -> None:
        self._redis: Any = redis
        self._backlog = begin_with_last
        self._last: dict[str, str] = {}

    def read(self, names: list[str]) -> list[Entry]:
        """Wait a little for new entries. Returns them; of a stream read for the first time, its newest ones.

        Those cover the last two seconds at least, because a new symbol's stream is found a moment after it began.
        """
        found: list[Entry] = []
        for name in names:
            if name not in self._last:
                begun = self._newest(name)
                self._last[name] = begun[-1].entry_id if begun else "0-0"
                found += begun
        if found or not names:
            if not names:
                time.sleep(REST_S)
            return found
        found = self._newer(names)
        for entry in found:
            self._last[entry.stream] = entry.entry_id
        return found

    def _newest(self, name: str) -> list[Entry]:
        newest = self._redis.xrevrange(name, count=self._backlog)
        if newest:
            since = max(0, int(newest[0][0].partition("-")[0]) - RECENT_MS)
            recent = self._redis.xrange(name, min=since, count=RECENT)
            newest = max(newest, recent[::-1], key=len)
        return [Entry(name, i, f) for i, f in reversed(newest)]

    def forget(self, names: Iterable[str]) -> None:
        """Begin these anew: Redis may have lost its streams."""
        for name in names:
            self._last.pop(name, None)

    def _newer(self, names: list[str]) -> list[Entry]:
        if not isinstance(self._redis, RedisCluster):
            last = {name: self._last[name] for name in names}
            return entries_of(self._redis.xread(last, count=1000, block=BLOCK_MS))
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.xread({name: self._last[name]}, count=1000)
        found = [entry for answer in pipe.execute() for entry in entries_of(answer)]
        if not found:
            time.sleep(REST_S)
        return found
