"""Builds ``GET /health`` (docs/health.md) from Redis's contents and quick pings of Redis, the broker and the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from kombu.connection import Connection
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.breaker import NeighbourState, read_state
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.health.heartbeat import Beat, live_processes
from s6.health.mode import ModeGate, open_symbols, tick_ages
from s6.health.probe import Check, Outcome
from s6.model.types import NEIGHBOURS
from s6.ports import Clock
from s6.store import Store, StoreError
from s6.urls import Broker

ROLES: Final = ("worker", "listener", "beat")
#: S6 cannot govern without these.
VITAL: Final = ("redis", "broker", *ROLES)
PATIENCE_S: Final = 1.4
PING_S: Final = 1.0
#: A neighbour without a probe for this long counts as unknown.
UNHEARD_MS: Final = 15_000

Body = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Facts:
    """Redis's contents from one read.

    ``ages`` are the ms since each symbol's newest tick. ``swept_ts`` and ``reconciled_ts`` are 0 before the first time.
    """

    version: str | None
    reconciled_ts: int
    swept_ts: int
    beats: list[Beat]
    neighbours: dict[str, NeighbourState]
    statuses: dict[str, str]
    reasons: list[str]
    ages: dict[str, int]
    stale: list[str]


class HealthReporter:
    """Makes the report within 1.5 s, even if a check hangs. Each serving process has one."""

    def __init__(
        self, redis: RedisClient, broker: Broker, store: Store, gate: ModeGate, clock: Clock, manage_tick_s: float
    ) -> None:
        self._client, self._redis, self._gate, self._clock = redis, text(redis), gate, clock
        self._tick_ms = int(manage_tick_s * 1000)
        self._facts = Check("redis", self._read, (RedisError, ValueError))
        self._ping: Check[bool] = Check("ping", self._read_one, (RedisError,))
        self._broker: Check[bool] = Check("broker", broker_ping(broker), (KombuError, OSError))
        self._store: Check[bool] = Check("store", _store_ping(store), (StoreError, OSError))

    def redis_answers(self) -> bool:
        """Return whether Redis answers a read within a second."""
        return self._ping.start()(time.monotonic() + PING_S).value is not None

    def report(self) -> Body:
        """Return the body of ``GET /health``. The caller answers 503 if its ``status`` is DOWN, else 200."""
        until = time.monotonic() + PATIENCE_S
        read, ping_broker, ping_store = self._facts.start(), self._broker.start(), self._store.start()
        redis, broker, store = read(until), ping_broker(until), ping_store(until)
        facts = redis.value
        now = self._clock.now_ms()
        checks: dict[str, Body] = {"redis": _pinged(redis), "broker": _pinged(broker), "store": _pinged(store)}
        checks |= {role: self._role(role, facts, now) for role in ROLES}
        checks |= {name: _neighbour(name, facts, now) for name in NEIGHBOURS}
        reasons = [*facts.reasons, *(f"{s}: market data is stale" for s in facts.stale)] if facts else ["no Redis"]
        down = [name for name in VITAL if checks[name]["status"] == "DOWN"]
        if facts and facts.version is None:
            down.append("no bundle")
        if facts and not facts.reconciled_ts:
            down.append("not reconciled")
        well = not reasons and all(check["status"] == "OK" for check in checks.values())
        return {
            "status": "DOWN" if down else "OK" if well else "DEGRADED",
            "mode": "RISK_REDUCTION_ONLY" if reasons else "NORMAL",
            "checks": checks,
            "ws_lag_ms": facts.ages if facts else {},
            "manage_tick_delay_ms": self._delay(facts, now),
            "bundle_version": facts.version if facts else None,
            "reasons": [*down, *reasons],
        }

    def _read(self) -> _Facts:
        now = self._clock.now_ms()
        pipe = self._redis.pipeline(transaction=False)
        pipe.hget(keys.BUNDLE, "version")
        pipe.get(keys.RECONCILED)
        pipe.hget(keys.SWEEP_LAST, "ts")
        for name in NEIGHBOURS:
            pipe.hgetall(keys.neighbour(name))
        version, reconciled, swept, *states = pipe.execute()
        held = open_symbols(self._redis)
        ages = tick_ages(self._redis, self._symbols(held), now)
        return _Facts(
            version=version,
            reconciled_ts=int(reconciled or 0),
            swept_ts=int(swept or 0),
            beats=live_processes(self._client),
            neighbours={name: read_state(state) for name, state in zip(NEIGHBOURS, states, strict=True)},
            statuses=self._gate.reported().statuses,
            reasons=self._gate.reasons(),
            ages=ages,
            stale=[s for s in held if self._gate.is_stale(now - ages[s] if s in ages else None, now)],
        )

    def _read_one(self) -> bool:
        self._redis.exists(keys.RECONCILED)
        return True

    def _symbols(self, held: Iterable[str]) -> list[str]:
        return sorted({*held, *self._gate.known_symbols()})

    def _role(self, role: str, facts: _Facts | None, now: int) -> Body:
        beats = [beat for beat in facts.beats if beat.role == role] if facts else []
        if not beats:
            return {"status": "DOWN", "latency_ms": None, "detail": "no heartbeat"}
        check: Body = {"status": "OK", "latency_ms": max(0, now - max(beat.ts for beat in beats))}
        silence = now - facts.swept_ts if facts and facts.swept_ts else 0
        if role == "worker" and silence > 3 * self._tick_ms + 30_000:
            check |= {"status": "DOWN", "detail": f"no sweep for {silence // 1000} s"}
        return check

    def _delay(self, facts: _Facts | None, now: int) -> int | None:
        """Return how late the sweep is (ms), or None if unknown. The first one is due a period after reconciliation."""
        since = facts.swept_ts or facts.reconciled_ts if facts else 0
        return max(0, now - since - self._tick_ms) if since else None


def broker_ping(broker: Broker) -> Callable[[], bool]:
    """Return a function that checks whether the broker accepts messages."""
    options = {"socket_connect_timeout": 1, "socket_timeout": 1, **broker.options}
    Connection(broker.url).get_transport_cls()  # importing it takes longer than a check may

    def ping() -> bool:
        with Connection(broker.url, connect_timeout=1, transport_options=options) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
        return True

    return ping


def _store_ping(store: Store) -> Callable[[], bool]:
    def ping() -> bool:
        store.ping()
        return True

    return ping


def _pinged(outcome: Outcome[_Facts] | Outcome[bool]) -> Body:
    if outcome.value is None:
        return {"status": "DOWN", "latency_ms": outcome.latency_ms, "detail": outcome.trouble}
    return {"status": "OK", "latency_ms": outcome.latency_ms}


def _neighbour(name: str, facts: _Facts | None, now: int) -> Body:
    if facts is None:
        return {"status": "DEGRADED", "latency_ms": None, "detail": "not known without Redis"}
    state, status = facts.neighbours[name], facts.statuses.get(name)
    if state.down:
        return {"status": "DOWN", "latency_ms": None, "detail": state.detail}
    if status in ("DOWN", "DEGRADED"):
        return {
            "status": status,
            "latency_ms": state.latency_ms,
            "detail": f"{keys.service_health(name)} says {status}",
        }
    if now - state.ts > UNHEARD_MS:
        return {"status": "DEGRADED", "latency_ms": None, "detail": "not asked for a while"}
    return {"status": "OK", "latency_ms": state.latency_ms}
