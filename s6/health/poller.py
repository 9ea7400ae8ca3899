"""Probes the neighbours' health and watches the age of market data: S6 notices trouble and its end by itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import requests
from redis.exceptions import RedisError
from urllib3.util import Timeout

from s6 import keys
from s6.adapters.breaker import SharedBreaker
from s6.adapters.http_deadline import DeadlineAdapter, trusted
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.health.mode import ModeGate, open_symbols, tick_ages
from s6.model.types import Mode
from s6.ports import Clock, Metrics

log = logging.getLogger(__name__)

PERIOD_S: Final = 2.0
#: The longest period, whatever the bundle says, so that S6 notices a recovery within 15 s.
LONGEST_S: Final = 4.0
SHORTEST_S: Final = 0.2
CONNECT_S: Final = 1.0
WHOLE_S: Final = 2.5


class Poller:
    """Probes ``GET {base}/health`` of all neighbours at once, every ``health.poll_interval_s`` (at most 4 s).

    It raises an alert for a market with open positions whose data is stale, and resolves it when the data returns. It
    runs in the listener process.
    """

    def __init__(
        self,
        redis: RedisClient,
        neighbours: Mapping[str, str],
        breaker: SharedBreaker,
        gate: ModeGate,
        bundles: Bundles,
        alerts: AlertLog,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._redis, self._breaker, self._gate, self._bundles = text(redis), breaker, gate, bundles
        self._alerts, self._metrics, self._clock = alerts, metrics, clock
        self._neighbours = {name: url.rstrip("/") for name, url in neighbours.items() if url}
        self._pool = ThreadPoolExecutor(len(self._neighbours) or 1, "probe")
        self._reported: set[str] = set()
        self._suspects: set[str] = set()
        self._stale: set[str] = set()

    def round(self) -> float:
        """Ask all neighbours and look at the markets. Returns the pause before the next round, in s."""
        began = time.monotonic()
        list(self._pool.map(self._probe, self._neighbours))
        try:
            self._heed_reports()
            self._look_at_markets()
        except RedisError as error:
            log.warning("health keys and markets not looked at: %s", error)
        return max(0.0, self._period() - (time.monotonic() - began))

    def close(self) -> None:
        """End the threads that probe."""
        self._pool.shutdown()

    def _period(self) -> float:
        bundle = self._bundles.current()
        wanted = bundle.health.poll_interval_ms / 1000 if bundle else PERIOD_S
        return min(max(wanted, SHORTEST_S), LONGEST_S)

    def _probe(self, name: str) -> None:
        began = time.monotonic()
        try:
            url = f"{self._neighbours[name]}/health"
            # Each probe makes a new connection, since it checks whether that works.
            with requests.Session() as session:
                session.trust_env, session.verify = False, trusted()
                session.mount("http", DeadlineAdapter())
                timeout = Timeout(connect=CONNECT_S, total=WHOLE_S)
                answer = session.get(url, timeout=timeout, allow_redirects=False)  # type: ignore[arg-type]  # it may
            trouble = "" if answer.status_code == 200 else f"GET /health: HTTP {answer.status_code}"
        except requests.RequestException as error:
            trouble = f"GET /health: {type(error).__name__}"
        latency_ms = None if trouble else int((time.monotonic() - began) * 1000)
        self._breaker.probed(name, latency_ms, trouble)
        self._metrics.set("s6_neighbour_up", 0 if self._breaker.is_down(name) else 1, neighbour=name)

    def _heed_reports(self) -> None:
        down = set(self._gate.reported().down)
        for service in sorted(down - self._reported):
            report_neighbour(self._alerts, service, True, f"{keys.service_health(service)} says DOWN")
        for service in sorted(self._reported - down):
            report_neighbour(self._alerts, service, False, "")
        self._reported = down

    def _look_at_markets(self) -> None:
        now = self._clock.now_ms()
        symbols = open_symbols(self._redis)
        ages = tick_ages(self._redis, symbols, now)
        stale = {s for s in symbols if self._gate.is_stale(now - ages[s] if s in ages else None, now)}
        for symbol in sorted(stale & self._suspects - self._stale):  # stale twice: a new symbol has no tick yet
            age = f"{ages[symbol]} ms old" if symbol in ages else "missing"
            self._alerts.raise_alert("ERROR", "MARKET_STALE", f"{symbol}: the newest tick is {age}", scope=symbol)
            self._stale.add(symbol)
        for symbol in sorted(self._stale - stale):
            self._alerts.resolve("MARKET_STALE", f"{symbol}: ticks are fresh again, or nothing is held", scope=symbol)
            self._stale.discard(symbol)
        self._suspects = stale
        mode: Mode = "RISK_REDUCTION_ONLY" if stale or self._gate.reasons() else "NORMAL"
        for name in ("NORMAL", "RISK_REDUCTION_ONLY"):
            self._metrics.set("s6_mode", 1 if name == mode else 0, mode=name)


def report_neighbour(alerts: AlertLog, name: str, down: bool, detail: str) -> None:
    """Raise the alert that a neighbour is down (``S4_DOWN``), or resolve it.

    With ``alerts`` bound, this is ``SharedBreaker``'s ``on_change``.
    """
    code = f"{name.upper()}_DOWN"
    if down:
        alerts.raise_alert("ERROR" if name in ("s4", "ws") else "WARN", code, detail or f"{name} does not answer")
    else:
        alerts.resolve(code, f"{name} is back")
