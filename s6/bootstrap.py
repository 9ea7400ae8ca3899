"""Put the parts together: one House per process, made after the fork."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from s6.adapters.breaker import SharedBreaker
from s6.adapters.clock import SystemClock
from s6.adapters.http import Neighbour
from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_state import RedisState
from s6.adapters.s1 import S1Wallets
from s6.adapters.s4 import S4Orders
from s6.adapters.s10 import S10Config
from s6.adapters.s12 import S12Approvals
from s6.alerts.log import AlertBook
from s6.alerts.notify import notify_pending
from s6.bundles.active import Bundles
from s6.engine.commands import Manager
from s6.engine.executor import Executor
from s6.engine.governor import Governor
from s6.engine.outbox_relay import Relay
from s6.engine.recorder import Recorder
from s6.engine.results import Results
from s6.engine.sweep import Sweep
from s6.health.mode import HealthGate
from s6.health.mode.report import HealthReporter
from s6.health.poller import tell_of_neighbour
from s6.metrics.redis_metrics import RedisMetrics
from s6.ports import Hints
from s6.recovery.cold_start import ColdStart
from s6.recovery.rebuilder import Rebuilder
from s6.recovery.reconciler import Reconciler
from s6.settings import Settings
from s6.store import Store, open_store
from s6.treasury import Treasury

if TYPE_CHECKING:
    from tasks.hints import CeleryHints

SWEEP_LOCK_MS: Final = 15_000  # lest a killed worker hold up many sweeps; two at once do no harm


@dataclass(frozen=True)
class House:
    """Everything a process of S6 may need, by name."""

    settings: Settings
    clock: SystemClock
    redis: RedisClient
    state: RedisState
    store: Store
    bundles: Bundles
    breaker: SharedBreaker
    gate: HealthGate
    alerts: AlertBook
    metrics: RedisMetrics
    hints: Hints
    orders: S4Orders
    results: Results
    governor: Governor
    executor: Executor
    manager: Manager
    reconciler: Reconciler
    coldstart: ColdStart
    sweep: Sweep
    relay: Relay
    treasury: Treasury
    reporter: HealthReporter

    def sweep_once(self) -> None:
        """The sweep, once a period however many ask, and never two at once."""
        if self.state.lock("s6:sweep:turn", max(1, int(self.settings.manage_tick_s * 900))) is None:
            return
        token = self.state.lock("lock:sweep", SWEEP_LOCK_MS)
        if token is None:
            return
        try:
            self.sweep.run()
            self.state.note_sweep(self.clock.now_ms())
        finally:
            self.state.unlock("lock:sweep", token)

    def tell_alerts(self) -> None:
        """Alerts on to the store, and to people where somebody is to be told."""
        self.alerts.relay(self.store)
        if self.settings.notify_urls:
            notify_pending(self.redis, self.settings.notify_urls)

    def acknowledge(self, alert_id: str, *, by: str, note: str = "") -> dict[str, object] | None:
        """Acknowledge an alert, which then stands no more; one about a position leaves a word in its timeline.

        The alert as it is; None: no such one. Again: nothing more happens. Raises ``RedisError``, ``StateUnavailable``.
        """
        known = self.alerts.get(alert_id)
        if known is not None and known["ack"] is None and known["position_id"]:
            said = f"ACK by {by}: {note or known['detail']} ({known['severity']} {known['code']})"
            self.manager.note(str(known["position_id"]), said)
        return self.alerts.ack(alert_id, by=by, note=note)

    def health(self) -> dict[str, object]:
        """The body of ``GET /health``."""
        return self.reporter.report()


def build(settings: Settings, *, hints: CeleryHints | None = None) -> House:
    """A House over real parts. Raises ``RedisError`` when a Redis Cluster cannot be reached (others connect later)."""
    if hints is None:
        from tasks.hints import CeleryHints

        hints = CeleryHints()
    clock = SystemClock()
    redis = connect(settings.redis)
    metrics = RedisMetrics(redis)
    store = open_store(settings.store_url)
    alerts = AlertBook(redis, clock, metrics, store, people=bool(settings.notify_urls))
    breaker = SharedBreaker(redis, clock, partial(tell_of_neighbour, alerts))
    neighbour = {
        name: Neighbour(name, url, breaker, metrics)
        for name, url in (
            ("s1", settings.s1_url),
            ("s4", settings.s4_url),
            ("s10", settings.s10_url),
            ("s12", settings.s12_url),
        )
    }
    bundles = Bundles(redis, S10Config(neighbour["s10"]), alerts, clock)
    gate = HealthGate(redis, breaker, bundles, alerts)
    state = RedisState(redis, clock)
    recorder = Recorder(state, alerts, metrics)
    orders = S4Orders(neighbour["s4"])
    recover = Rebuilder(state, store, clock).recover
    results = Results(state, bundles, recorder, hints, clock, alerts, recover, orders)
    governor = Governor(state, bundles, gate, recorder, hints, clock, alerts)
    reconciler = Reconciler(state, orders, results, recorder, clock, alerts)
    relay = Relay(state, store, alerts)
    return House(
        settings=settings,
        clock=clock,
        redis=redis,
        state=state,
        store=store,
        bundles=bundles,
        breaker=breaker,
        gate=gate,
        alerts=alerts,
        metrics=metrics,
        hints=hints,
        orders=orders,
        results=results,
        governor=governor,
        executor=Executor(state, orders, bundles, results, recorder, governor.evaluate_soon, clock),
        manager=Manager(governor, state, bundles, recorder, hints, clock),
        reconciler=reconciler,
        coldstart=ColdStart(state, store, relay, reconciler, hints, alerts),
        sweep=Sweep(state, bundles, gate, hints, metrics, clock),
        relay=relay,
        treasury=Treasury(
            store=store,
            state=state,
            wallets=S1Wallets(neighbour["s1"]),
            approvals=S12Approvals(neighbour["s12"]),
            bundles=bundles,
            alerts=alerts,
            metrics=metrics,
            clock=clock,
            hints=hints,
            approval_ttl_ms=int(settings.approval_ttl_s * 1000),
        ),
        reporter=HealthReporter(redis, settings.broker, store, gate, clock, settings.manage_tick_s),
    )
