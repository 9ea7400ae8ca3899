"""One circuit breaker for each neighbour, shared by all processes: its state stands in Redis.

It never forbids what protects: stops, closes, cancels and queries are sent whatever it says. It shows whether a
neighbour is *down*, so that no new risk is taken meanwhile and what can wait is not even tried. (pybreaker holds a
lock during each call, one call at a time in a process, and asks its storage several times for each.)

A neighbour is down after three failed calls in a row, until one succeeds, and after two failed probes in a row, until
one succeeds. A probe that succeeds also lets failed calls be forgotten, once none has failed for some seconds: so a
neighbour whose health page alone is well stays down, and one that nobody calls is found well again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.model.waiting import APART_MS
from s6.ports import Clock

log = logging.getLogger(__name__)

Verb = Literal["call_ok", "call_failed", "probe_ok", "probe_failed"]
OnChange = Callable[[str, bool, str], None]

CALLS: Final = 3
PROBES: Final = 2
HOLD_MS: Final = 7_000
#: Failures further apart than this are not in a row.
FORGET_MS: Final = 60_000
CACHE_S: Final = 0.05
#: How often a healthy neighbour's entry is rewritten by calls, for its latency to be seen.
REFRESH_S: Final = 2.0

# KEYS: neighbour · ARGV: verb, now, latency, detail, calls, probes, hold, forget, how far clocks may be apart
# Returns the status, whether it has changed, and the failures in a row.
_STEP: Final = """
local h = redis.call('HMGET', KEYS[1], 'status', 'failures', 'failed_ts', 'probes_failed')
local was = h[1] or 'OK'
local failures, failed_ts, probes = tonumber(h[2] or 0), tonumber(h[3] or 0), tonumber(h[4] or 0)
local verb, now, most, most_probes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5]), tonumber(ARGV[6])
if failed_ts > now + tonumber(ARGV[9]) then failed_ts = 0 end
if verb == 'call_ok' then
  failures = 0
elseif verb == 'call_failed' then
  if now - failed_ts > tonumber(ARGV[8]) then failures = 0 end
  failures, failed_ts = failures + 1, now
elseif verb == 'probe_ok' then
  probes = 0
  if failures >= most and now - failed_ts >= tonumber(ARGV[7]) then failures = most - 1 end
else
  probes = probes + 1
end
local status = (failures >= most or probes >= most_probes) and 'DOWN' or 'OK'
redis.call('HSET', KEYS[1], 'status', status, 'failures', failures, 'failed_ts', string.format('%.0f', failed_ts),
  'probes_failed', probes, 'ts', ARGV[2])
if verb == 'call_ok' or verb == 'probe_ok' then
  redis.call('HSET', KEYS[1], 'latency_ms', ARGV[3])
  if status == 'OK' then redis.call('HSET', KEYS[1], 'detail', '') end
else
  redis.call('HSET', KEYS[1], 'detail', ARGV[4])
end
if status ~= was then redis.call('HSET', KEYS[1], 'since', ARGV[2]) end
return {status, status ~= was and 1 or 0, failures}
"""


@dataclass(frozen=True, slots=True)
class NeighbourState:
    """What is known of a neighbour. ``ts``, ``since``: ms; 0 when nothing is known yet."""

    down: bool = False
    failures: int = 0
    latency_ms: int = 0
    detail: str = ""
    ts: int = 0
    since: int = 0


class SharedBreaker:
    """``s6.adapters.http.Breaker`` for all neighbours. Never raises; without Redis the last known state holds.

    The one process whose report changes a state calls ``on_change(name, down, detail)``.
    """

    def __init__(self, redis: RedisClient, clock: Clock, on_change: OnChange | None = None) -> None:
        self._redis = text(redis)
        self._step = self._redis.register_script(_STEP)
        self._clock, self._on_change = clock, on_change
        self._known: dict[str, tuple[float, NeighbourState]] = {}
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()

    def is_down(self, name: str) -> bool:
        return self.state(name).down

    def state(self, name: str) -> NeighbourState:
        """Return the neighbour's state, no older than 50 ms."""
        with self._lock:
            read_at, state = self._known.get(name, (float("-inf"), NeighbourState()))
        if time.monotonic() - read_at < CACHE_S:
            return state
        try:
            state = read_state(self._redis.hgetall(keys.neighbour(name)))
        except RedisError as error:
            log.warning("state of %s not read, the last word holds: %s", name, error)
        self._remember(name, state)
        return state

    def succeeded(self, name: str, latency_ms: int) -> None:
        state = self.state(name)
        if state.down or state.failures or time.monotonic() - self._written.get(name, float("-inf")) > REFRESH_S:
            self._report(name, "call_ok", latency_ms, "")

    def failed(self, name: str, detail: str) -> None:
        self._report(name, "call_failed", 0, detail)

    def probed(self, name: str, latency_ms: int | None, detail: str = "") -> None:
        """Report a probe of ``GET /health``; ``latency_ms`` is None when it failed."""
        if latency_ms is None:
            self._report(name, "probe_failed", 0, detail)
        else:
            self._report(name, "probe_ok", latency_ms, "")

    def _report(self, name: str, verb: Verb, latency_ms: int, detail: str) -> None:
        now = self._clock.now_ms()
        try:
            status, changed, failures = self._step(
                keys=[keys.neighbour(name)],
                args=[verb, now, latency_ms, detail[:500], CALLS, PROBES, HOLD_MS, FORGET_MS, APART_MS],
            )
        except RedisError as error:
            log.warning("%s of %s not noted: %s", verb, name, error)
            return
        down = status == "DOWN"
        self._written[name] = time.monotonic()
        self._remember(name, NeighbourState(down, int(failures), latency_ms, detail, now))
        if int(changed):
            log.log(logging.ERROR if down else logging.INFO, "%s is %s %s", name, "down:" if down else "back", detail)
            if self._on_change is not None:
                self._on_change(name, down, detail)

    def _remember(self, name: str, state: NeighbourState) -> None:
        with self._lock:
            self._known[name] = (time.monotonic(), state)


def read_state(fields: dict[str, str]) -> NeighbourState:
    """Return the state in a neighbour's hash."""
    return NeighbourState(
        down=fields.get("status") == "DOWN",
        failures=int(fields.get("failures") or 0),
        latency_ms=int(fields.get("latency_ms") or 0),
        detail=fields.get("detail", ""),
        ts=int(fields.get("ts") or 0),
        since=int(fields.get("since") or 0),
    )
