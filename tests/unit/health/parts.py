"""Everything around health, on one Redis, for the tests of its modules."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from s6 import keys
from s6.adapters.breaker import SharedBreaker
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.health.mode import ModeGate
from s6.health.poller import report_neighbour
from s6.model import jsonx
from s6.model.market import MarketView, Tick
from tests.support.bundles import MemoryConfig
from tests.support.doubles import ManualClock, MemoryMetrics

REDUCED = "RISK_REDUCTION_ONLY"


@dataclass
class Dependencies:
    """Everything around health, on one Redis."""

    redis: RedisClient
    clock: ManualClock
    metrics: MemoryMetrics
    alerts: AlertLog
    breaker: SharedBreaker
    bundles: Bundles
    gate: ModeGate

    @classmethod
    def on(cls, redis: RedisClient) -> Dependencies:
        clock, metrics = ManualClock(), MemoryMetrics()
        alerts = AlertLog(redis, clock, metrics)
        breaker = SharedBreaker(redis, clock, lambda name, down, why: report_neighbour(alerts, name, down, why))
        bundles = Bundles(redis, MemoryConfig(), alerts, clock)
        bundles.refresh()
        return cls(
            redis,
            clock,
            metrics,
            alerts,
            breaker,
            bundles,
            ModeGate(redis, breaker, bundles, alerts, Reader(clock, bundles)),
        )

    def mode(self, age_ms: int | None = 0) -> str:
        """The gate's word on a market whose tick is that old, without its short memory."""
        self.gate._read_at = float("-inf")
        self.breaker._known.clear()
        now = self.clock.now
        tick = None if age_ms is None else Tick(now - age_ms, Decimal(1), Decimal(1), Decimal(1))
        return self.gate.mode("FUT", MarketView("BTCUSDT", tick), now)

    def says(self, service: str, status: str) -> None:
        self.redis.set(f"prod:health:{service}", jsonx.dumps({"status": status, "ts": 1}))

    def codes(self) -> list[str]:
        entries = text(self.redis).xrevrange("s6:alerts", count=100)
        return [fields["code"] for _, fields in reversed(entries)]

    def hold(self, symbol: str, tick_ts: int | None) -> None:
        """An open position in ``symbol``, whose newest tick is of ``tick_ts``."""
        self.redis.sadd(keys.SYMBOLS, symbol)
        self.redis.sadd(keys.open_positions(symbol), "p-1")
        if tick_ts is not None:
            self.redis.hset(keys.market(symbol), "ts", str(tick_ts))
