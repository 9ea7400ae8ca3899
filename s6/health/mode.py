"""Decides whether S6 takes new risk (docs/health.md), by the neighbours, the market data and the standing alerts."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from redis.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from s6 import keys
from s6.adapters.breaker import SharedBreaker
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import TextRedis, text
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.model.bundle import Health
from s6.model.market import MarketView
from s6.model.types import SERVICES, Market, Mode
from s6.model.wire import HealthKey, MalformedMessage

log = logging.getLogger(__name__)

CACHE_S: Final = 0.05
EACH_S: Final = 5.0
"""So often each health key is asked for by itself: asked for together, one that is no string looks absent."""


@dataclass(frozen=True, slots=True)
class Reported:
    """S11's health keys and the number of standing FATAL alerts.

    ``statuses`` maps a service to OK, DEGRADED or DOWN; a service without a valid key is absent.
    """

    statuses: dict[str, str]
    fatals: int

    @property
    def down(self) -> tuple[str, ...]:
        return tuple(service for service in SERVICES if self.statuses.get(service) == "DOWN")


class ModeGate:
    """Implements ``s6.ports.Gate``.

    Its view of Redis is at most 50 ms old, or fresh on request. If it cannot read Redis, S6 takes no new risk.
    """

    def __init__(
        self, redis: RedisClient, breaker: SharedBreaker, bundles: Bundles, alerts: AlertLog, reader: Reader
    ) -> None:
        self._redis, self._breaker, self._bundles, self._alerts = text(redis), breaker, bundles, alerts
        self._reader = reader
        self._lock = threading.Lock()
        self._read_at, self._reported = float("-inf"), Reported({}, 0)
        self._complained: dict[str, str] = {}
        self._each_at = 0.0

    def mode(self, market: Market, view: MarketView, now: int, *, fresh: bool = False) -> Mode:
        """Return the mode for one symbol at ``now`` (ms). ``fresh`` reads Redis again."""
        if self.reasons(fresh=fresh) or self.is_stale(view.tick.ts if view.tick else None, now):
            return "RISK_REDUCTION_ONLY"
        return "NORMAL"

    def is_stale(self, tick_ts: int | None, now: int) -> bool:
        """Return whether a symbol's market data is too old for new risk. ``tick_ts`` is None before the first tick."""
        bundle = self._bundles.latest or self._bundles.current()
        health = bundle.health if bundle else Health()
        return tick_ts is None or not -health.clock_skew_ms <= now - tick_ts <= health.market_stale_ms

    def known_symbols(self) -> list[str]:
        """Return the symbols of the bundle in force."""
        bundle = self._bundles.current()
        return list(bundle.symbols) if bundle else []

    def reasons(self, *, fresh: bool = False) -> list[str]:
        """Return why S6 only reduces risk in all symbols, or an empty list if it doesn't.

        ``fresh`` reads Redis again.
        """
        try:
            reported = self.reported(fresh=fresh)
        except RedisError as error:
            return [f"Redis: {error}"]
        found = [f"{service} is reported DOWN" for service in reported.down]
        if self._breaker.is_down("s4"):
            found.append("s4 does not answer")
        if reported.fatals:
            found.append(f"{reported.fatals} FATAL alert(s) to be acknowledged")
        return found

    def reported(self, *, fresh: bool = False) -> Reported:
        """Return S11's statuses and the number of standing FATAL alerts. Raises ``RedisError``."""
        with self._lock:
            if not fresh and time.monotonic() - self._read_at < CACHE_S:
                return self._reported
        *values, fatals = self._read()
        for answer in (*values, fatals):
            if isinstance(answer, RedisError) and (answer is fatals or not isinstance(answer, ResponseError)):
                raise answer
        statuses = {service: self._status(service, value) for service, value in zip(SERVICES, values, strict=True)}
        reported = Reported({service: status for service, status in statuses.items() if status}, int(fatals))
        with self._lock:
            self._read_at, self._reported = time.monotonic(), reported
        return reported

    def _read(self) -> list[Any]:
        """Return the health keys' values and the number of standing FATAL alerts, an error where one cannot be read."""
        names = [keys.service_health(service) for service in SERVICES]
        together = not isinstance(self._redis, RedisCluster) and time.monotonic() < self._each_at
        pipe = self._redis.pipeline(transaction=False)
        pipe.scard(keys.ALERTS_FATAL)
        if together:
            pipe.mget(names)
        else:
            self._each_at = time.monotonic() + EACH_S
            for name in names:
                pipe.get(name)
        fatals, *values = pipe.execute(raise_on_error=False)
        if together:
            values = values[0] if isinstance(values[0], list) else values * len(names)
        return [*values, fatals]

    def _status(self, service: str, value: object) -> str:
        """Return the status in a health key, or "" if there is none. A malformed key is no news and raises a WARN."""
        try:
            if value is None:
                return ""
            if not isinstance(value, str):
                raise MalformedMessage(f"must be a string ({value})")
            return self._reader.read_json(HealthKey, value).status
        except MalformedMessage as error:
            shown = f"{value:.200}" if isinstance(value, str) else ""
            why = f"{error}: {shown}"
        if self._complained.get(service) != why:
            self._complained[service] = why
            detail = f"{keys.service_health(service)} is malformed and passed over: {why}"
            self._alerts.raise_alert("WARN", "HEALTH_KEY_MALFORMED", detail, scope=service)
        return ""


def tick_ages(redis: TextRedis, symbols: list[str], now: int) -> dict[str, int]:
    """Return the age (ms) of each symbol's newest tick, without symbols that have none. Raises ``RedisError``."""
    pipe = redis.pipeline(transaction=False)
    for symbol in symbols:
        pipe.hget(keys.market(symbol), "ts")
    stamps = pipe.execute() if symbols else []
    return {symbol: max(0, now - int(ts)) for symbol, ts in zip(symbols, stamps, strict=True) if ts is not None}


def open_symbols(redis: TextRedis) -> list[str]:
    """Return the symbols that have open positions. Raises ``RedisError``."""
    symbols = sorted(redis.smembers(keys.SYMBOLS))
    pipe = redis.pipeline(transaction=False)
    for symbol in symbols:
        pipe.exists(keys.open_positions(symbol))
    held = pipe.execute() if symbols else []
    return [symbol for symbol, there in zip(symbols, held, strict=True) if there]
