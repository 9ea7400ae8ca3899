"""Start the listener's threads, reconcile, and end them all on SIGTERM."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from typing import Final

from redis.exceptions import RedisError

from s6.adapters.redis_client import connect
from s6.bootstrap import AllHints, Services, build
from s6.bundles.watcher import BundleWatcher
from s6.health.heartbeat import Heartbeat
from s6.health.poller import Poller
from s6.listener.index import TriggerIndex
from s6.listener.market_reader import FeatureReader, MarketReader
from s6.listener.reconciliation import Reconciliation
from s6.listener.results_consumer import ResultsConsumer
from s6.listener.watch import IndexKeeper, RestWatch
from s6.logs import configure_logging
from s6.settings import Settings, settings_or_exit

log = logging.getLogger(__name__)
HANGS_S: Final = 30.0
JOIN_S: Final = 4.0


def main(hints: AllHints) -> int:
    """Run until SIGTERM or SIGINT; returns 0."""
    settings = settings_or_exit()
    configure_logging(settings)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    services = _built(settings, hints, ending)
    if services is None:
        return 0
    threads = _threads(services, ending)
    for thread in threads:
        thread.start()
    while not ending.wait(1.0):
        dead = [t.name for t in threads if not t.is_alive()]
        if dead:
            log.critical("threads ended: %s; the process ends, to be started anew", ", ".join(dead))
            return 1
    for thread in threads:
        stop = getattr(thread, "stop", None)
        if stop is not None:
            stop()
    deadline = time.monotonic() + JOIN_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return 0


def _built(settings: Settings, hints: AllHints, ending: threading.Event) -> Services | None:
    """Build the services; a cluster is connected to at once, so wait for it. None: ended meanwhile."""
    while not ending.is_set():
        try:
            return build(settings, hints)
        except RedisError as error:
            log.warning("waiting for Redis: %s", error)
            ending.wait(1.0)
    return None


def _threads(services: Services, ending: threading.Event) -> list[threading.Thread]:
    settings, state, bundles = services.settings, services.state, services.bundles
    blocking = connect(settings.redis, blocking=True)
    consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    index = TriggerIndex()
    results = ResultsConsumer(blocking, consumer, services.results, bundles, services.alerts, ending)
    market = MarketReader(blocking, state, index, services.hints, bundles, services.alerts, services.clock, ending)
    features = FeatureReader(blocking, state, services.sweep, bundles, services.alerts, ending)
    readers = (results, market, features)

    def alive() -> bool:
        return all(time.monotonic() - reader.last_round < HANGS_S for reader in readers)

    return [
        Heartbeat(services.redis, "listener", services.clock, alive),
        BundleWatcher(blocking, bundles, services.alerts, settings.config_poll_s),
        Reconciliation(services, ending),
        *readers,
        IndexKeeper(blocking, state, bundles, index, services.hints, ending),
        RestWatch(state, services.hints, services.clock, ending, index),
        Poller(
            services.redis,
            settings.neighbours,
            services.breaker,
            services.gate,
            bundles,
            services.alerts,
            services.metrics,
            services.clock,
        ),
    ]
