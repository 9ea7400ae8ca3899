"""Put the parts together: one Services per process, made after the fork."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from redis.exceptions import RedisError

from s6.adapters.breaker import SharedBreaker
from s6.adapters.clock import SystemClock
from s6.adapters.http import Neighbour, Onlooker
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_state import RedisState
from s6.adapters.rests import Rests
from s6.adapters.s1 import S1Market, S1Wallets
from s6.adapters.s4 import S4Orders
from s6.adapters.s10 import S10Config
from s6.adapters.s12 import S12Approvals
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.engine.commands import OperatorCommands
from s6.engine.executor import Executor
from s6.engine.governor import Governor
from s6.engine.looks import Looks, QueuedHints
from s6.engine.outbox_relay import OutboxRelay
from s6.engine.recorder import Recorder
from s6.engine.results import Results
from s6.engine.results_batch import ResultsBatch
from s6.engine.sweep import Sweep
from s6.health.mode import ModeGate
from s6.health.poller import report_neighbour
from s6.health.report import HealthReporter
from s6.metrics.redis_metrics import RedisMetrics
from s6.ports import StateUnavailable
from s6.recovery.cold_start import ColdStart
from s6.recovery.prompt import PromptRecovery
from s6.recovery.rebuilder import Rebuilder
from s6.recovery.reconciler import Reconciler
from s6.settings import Settings
from s6.store import Store, open_store
from s6.treasury import Treasury
from s6.treasury.dependencies import TreasuryHints

log = logging.getLogger(__name__)


class AllHints(QueuedHints, TreasuryHints, Protocol):
    """Every hint that the services give."""


@dataclass(frozen=True)
class Services:
    """Everything a process of S6 may need, by name."""

    settings: Settings
    clock: SystemClock
    reader: Reader
    redis: RedisClient
    state: RedisState
    store: Store
    bundles: Bundles
    breaker: SharedBreaker
    gate: ModeGate
    alerts: AlertLog
    metrics: RedisMetrics
    hints: Looks
    orders: S4Orders
    s1_market: S1Market
    results: Results
    results_batch: ResultsBatch
    governor: Governor
    executor: Executor
    commands: OperatorCommands
    reconciler: Reconciler
    cold_start: ColdStart
    sweep: Sweep
    relay: OutboxRelay
    treasury: Treasury
    health: HealthReporter


class LazyServices:
    """Builds a process's services when they are first needed: after the fork, and again where Redis was away."""

    def __init__(self, settings: Settings, build: Callable[[Settings], Services]) -> None:
        self.settings = settings
        self._build = build
        self._lock = threading.Lock()
        self._services: Services | None = None

    def __call__(self) -> Services:
        """Return the services. Raises ``StateUnavailable`` when Redis is away and they cannot be built."""
        if self._services is None:
            with self._lock:
                if self._services is None:
                    self._services = self._make()
        return self._services

    def within(self, seconds: float) -> Services | None:
        """Return the services, or None when that time is too short to build them; building goes on."""
        if self._services is None:
            builder = threading.Thread(target=self._try, name="services", daemon=True)
            builder.start()
            builder.join(seconds)
        return self._services

    def _try(self) -> None:
        try:
            self()
        except StateUnavailable as error:
            log.warning("services are not built yet: %s", error)

    def _make(self) -> Services:
        try:
            return self._build(self.settings)
        except RedisError as error:
            raise StateUnavailable(str(error)) from error


def build(settings: Settings, hints: AllHints) -> Services:
    """Build the services over real parts; ``hints`` ask for work to happen soon.

    Raises ``RedisError`` when a Redis Cluster cannot be reached; other kinds connect later.
    """
    clock = SystemClock()
    redis = connect(settings.redis)
    metrics = RedisMetrics(redis)
    store = open_store(settings.store_url)
    alerts = AlertLog(redis, clock, metrics, store, notify_urls=settings.notify_urls)
    breaker = SharedBreaker(redis, clock, partial(report_neighbour, alerts))
    neighbour = {name: Neighbour(name, url, breaker, metrics) for name, url in settings.neighbours.items()}
    bundles = Bundles(redis, S10Config(neighbour["s10"]), alerts, clock)
    reader = Reader(clock, bundles)
    gate = ModeGate(redis, breaker, bundles, alerts, reader)
    state = RedisState(redis, clock)
    looks = Looks(hints, state, clock)
    recorder = Recorder(state, alerts, metrics)
    rests = Rests(redis, alerts)
    orders = S4Orders(neighbour["s4"], reader, alerts, rests)
    recover = PromptRecovery(Rebuilder(state, store, clock))
    results = Results(state, bundles, recorder, looks, clock, alerts, recover, orders)
    governor = Governor(state, bundles, gate, recorder, looks, clock, alerts)
    reconciler = Reconciler(state, orders, results, recorder, clock, alerts)
    keep_ms = int(settings.closed_keep_s * 1000)
    relay = OutboxRelay(state, store, alerts, clock, reconciler.doubt)
    return Services(
        settings=settings,
        clock=clock,
        reader=reader,
        redis=redis,
        state=state,
        store=store,
        bundles=bundles,
        breaker=breaker,
        gate=gate,
        alerts=alerts,
        metrics=metrics,
        hints=looks,
        orders=orders,
        s1_market=S1Market(Neighbour("s1", settings.neighbours["s1"], Onlooker(breaker), metrics)),
        results=results,
        results_batch=ResultsBatch(results, state, bundles, recorder),
        governor=governor,
        executor=Executor(state, orders, bundles, results, recorder, governor, clock),
        commands=OperatorCommands(governor, state, bundles, recorder, looks, clock, alerts),
        reconciler=reconciler,
        cold_start=ColdStart(state, store, relay, reconciler, looks, alerts, keep_ms),
        sweep=Sweep(state, bundles, gate, looks, metrics, clock, int(settings.manage_tick_s * 1000), keep_ms),
        relay=relay,
        treasury=Treasury(
            store=store,
            state=state,
            wallets=S1Wallets(neighbour["s1"], reader, rests),
            approvals=S12Approvals(neighbour["s12"]),
            bundles=bundles,
            alerts=alerts,
            metrics=metrics,
            clock=clock,
            hints=hints,
            approval_ttl_ms=int(settings.approval_ttl_s * 1000),
        ),
        health=HealthReporter(redis, settings.broker, store, gate, clock, settings.manage_tick_s),
    )
