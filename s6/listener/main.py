"""Start the listener's threads, reconcile, and end them all on SIGTERM."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from functools import partial
from typing import Final

from redis.exceptions import RedisError

from s6.adapters.redis_client import connect
from s6.bootstrap import AllHints, Services, build
from s6.bundles.watcher import BundleWatcher
from s6.health.heartbeat import Heartbeat, live_processes
from s6.health.poller import Poller
from s6.listener.index import TriggerIndex
from s6.listener.market_reader import FeatureReader, MarketReader
from s6.listener.reconciliation import Reconciliation
from s6.listener.results_consumer import ResultsConsumer
from s6.listener.silent_markets import SilentMarkets
from s6.listener.streams import lanes
from s6.listener.watch import IndexKeeper, RestWatch
from s6.logs import configure_logging
from s6.ports import Alerts
from s6.settings import Settings, settings_or_exit
from s6.threads import LoopThread, wait_for_trouble

log = logging.getLogger(__name__)
#: The time a cold start takes grows with the positions; /health says by itself whether it is done.
RECONCILING_S: Final = 900.0
JOIN_S: Final = 4.0


def main(hints: AllHints) -> int:
    """Run until SIGTERM or SIGINT, or until a loop ends or hangs. Returns the exit code: 0, or 1 after a failure."""
    settings = settings_or_exit()
    configure_logging(settings)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    services = _built(settings, hints, ending)
    if services is None:
        return 0
    loops = _loops(services)
    for loop in loops:
        loop.start()
    failed = wait_for_trouble(loops, ending)
    if failed:
        log.critical("loops ended or hang: %s; the process ends, to be started anew", ", ".join(failed))
    for loop in loops:
        loop.stop()
    deadline = time.monotonic() + JOIN_S
    for loop in loops:
        loop.join(max(0.0, deadline - time.monotonic()))
    return 1 if failed else 0


def _built(settings: Settings, hints: AllHints, ending: threading.Event) -> Services | None:
    """Build the services; a cluster is connected to at once, so wait for it. None: ended meanwhile."""
    while not ending.is_set():
        try:
            return build(settings, hints)
        except RedisError as error:
            log.warning("waiting for Redis: %s", error)
            ending.wait(1.0)
    return None


def _loops(services: Services) -> list[LoopThread]:
    """Make the listener's loops, the heartbeat first. It beats while all others but the reconciliation are at work."""
    settings, state, bundles, alerts = services.settings, services.state, services.bundles, services.alerts
    blocking = connect(settings.redis, blocking=True)
    consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    index = TriggerIndex()
    reader = services.reader
    watcher = BundleWatcher(blocking, bundles, alerts, settings.config_poll_s, reader)
    market = MarketReader(blocking, state, index, services.hints, bundles, alerts, services.clock, reader)
    features = FeatureReader(blocking, state, services.sweep, bundles, alerts, reader)
    keeper = IndexKeeper(blocking, state, bundles, index, services.hints)
    at_rest = RestWatch(state, services.hints, services.clock, index, partial(_is_working, services))
    poller = _poller(services)
    silent = SilentMarkets(services.redis, services.s1_market, market, services.gate, bundles, services.clock)
    thread = partial(LoopThread, fault=partial(_alert_fault, alerts))
    readers: list[LoopThread] = []
    for lane in lanes(blocking):
        suffix = f"-{lane.number}" if lane else ""
        results = ResultsConsumer(blocking, consumer + suffix, services.results_batch, bundles, alerts, reader, lane)
        readers.append(thread(f"results{suffix}", results.round))
        readers.append(thread(f"mkt{suffix}", partial(market.round, lane)))
        readers.append(thread(f"feat:events{suffix}", partial(features.round, lane)))
    loops = [
        thread("bundle-watcher", watcher.round, watcher.close),
        *readers,
        thread("index", keeper.round, keeper.close),
        thread("at-rest", at_rest.round),
        thread("poller", poller.round, poller.close),
        thread("silent-markets", silent.round, silent.close),
    ]
    reconciliation = Reconciliation(services)
    heart = Heartbeat(
        services.redis,
        "listener",
        services.clock,
        lambda: reconciliation.begun and all(loop.is_at_work() for loop in loops),
    )
    return [
        thread("heartbeat", heart.round, heart.close),
        thread("reconciliation", reconciliation.round, longest_s=RECONCILING_S),
        *loops,
    ]


def _alert_fault(alerts: Alerts, name: str, error: Exception) -> None:
    what = f"a round of {name} failed: {type(error).__name__}: {error}"
    alerts.raise_alert("ERROR", "READER_FAULT", what, scope=name)


def _is_working(services: Services) -> bool:
    """Whether a worker lives, as far as Redis can say."""
    try:
        return any(process.role == "worker" for process in live_processes(services.redis))
    except RedisError as error:
        log.warning("nobody knows whether a worker lives: %s", error)
        return False


def _poller(services: Services) -> Poller:
    return Poller(
        services.redis,
        services.settings.neighbours,
        services.breaker,
        services.gate,
        services.bundles,
        services.alerts,
        services.metrics,
        services.clock,
    )
