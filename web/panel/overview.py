"""Gathers everything that the panel's first page shows, once a second for all viewers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from redis.exceptions import RedisError

from s6.ports import StateUnavailable
from s6.store import StoreError
from web.panel.positions import OpenPositions, open_positions
from web.services import LazyServices, Services

log = logging.getLogger(__name__)

T = TypeVar("T")

_FRESH_S = 1.0
_REMEMBERED = 64


@dataclass(frozen=True)
class Rate:
    """A success rate. ``share`` is None before the first event."""

    share: float | None
    total: int


@dataclass(frozen=True)
class Figures:
    """The numbers at the top. Durations are in seconds; None means that nothing is measured yet."""

    stop_moves: Rate
    take_profits: Rate
    exec_p95: float | None
    unprotected_p95: float | None
    unprotected_max: float | None
    stagnated: int
    open_positions: int


@dataclass(frozen=True)
class Overview:
    """The page's contents. A part that cannot be read just now is None."""

    at_ms: int
    health: Mapping[str, object]
    figures: Figures | None
    positions: OpenPositions | None
    alerts: list[dict[str, object]] | None
    transfers: list[dict[str, object]] | None
    symbol: str = ""

    @property
    def troubles(self) -> list[tuple[str, Mapping[str, object]]]:
        """The names and results of the checks that are not OK."""
        checks = self.health.get("checks")
        if not isinstance(checks, dict):
            return []
        return [(name, check) for name, check in checks.items() if check["status"] != "OK"]


class Watch:
    """Caches the overview of each symbol for a second, for any number of viewers."""

    def __init__(self, services: LazyServices, seconds: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Overview]] = {}

    def overview(self, symbol: str = "") -> Overview:
        """Return the overview, at most a second old. Raises ``StateUnavailable`` if the services cannot be built."""
        with self._lock:
            known = self._known.get(symbol)
            if known is None or self._seconds() - known[0] >= _FRESH_S:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                known = (self._seconds(), _look(self._services(), symbol))
                self._known[symbol] = known
            return known[1]

    def forget(self) -> None:
        """Drop the cache after an action."""
        with self._lock:
            self._known.clear()


def _look(services: Services, symbol: str) -> Overview:
    health = services.health.report()
    checks = health.get("checks")
    redis = checks.get("redis") if isinstance(checks, dict) else None
    if isinstance(redis, dict) and redis["status"] == "DOWN":
        return Overview(services.clock.now_ms(), health, None, None, None, _attempt(lambda: _pending(services)), symbol)
    return Overview(
        at_ms=services.clock.now_ms(),
        health=health,
        figures=_attempt(lambda: _figures(services)),
        positions=_attempt(lambda: open_positions(services, symbol)),
        alerts=_attempt(lambda: _alerts(services)),
        transfers=_attempt(lambda: _pending(services)),
        symbol=symbol,
    )


def _attempt(look: Callable[[], T]) -> T | None:
    """Return what ``look`` returns, or None if it cannot be read, so that the page shows the other parts."""
    try:
        return look()
    except (StateUnavailable, RedisError, StoreError) as error:
        log.warning("the panel misses a part: %s", error)
        return None


def _figures(services: Services) -> Figures:
    metrics = services.metrics
    return Figures(
        stop_moves=_rate(metrics.totals("s6_stop_move_total")),
        take_profits=_rate(metrics.totals("s6_tp_partial_total")),
        exec_p95=metrics.quantile("s6_exec_seconds", 0.95),
        unprotected_p95=metrics.quantile("s6_unprotected_seconds", 0.95),
        unprotected_max=metrics.quantile("s6_unprotected_seconds", 1),
        stagnated=int(sum(metrics.totals("s6_stagnated_positions").values())),
        open_positions=int(sum(metrics.totals("s6_open_positions").values())),
    )


def _rate(totals: Mapping[tuple[str, ...], float]) -> Rate:
    total = sum(totals.values())
    return Rate(totals.get(("success",), 0.0) / total if total else None, int(total))


def _alerts(services: Services) -> list[dict[str, object]]:
    """Return the standing alerts, then the newest other unacknowledged ones."""
    standing = services.alerts.page(limit=50, cursor=None, severity=None, standing=True).items
    others = services.alerts.page(limit=50, cursor=None, severity=None, standing=False).items
    return [*standing, *(alert for alert in others if alert.get("ack") is None and alert["severity"] != "FATAL")][:50]


def _pending(services: Services) -> list[dict[str, object]]:
    return services.store.transfers(limit=50, status="PENDING").items
