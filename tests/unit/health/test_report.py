"""``GET /health``: a report that nothing can hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from s6.adapters.redis_client import connect
from s6.health.heartbeat import send_heartbeat
from s6.health.report import HealthReporter
from s6.model import jsonx
from s6.standalone.redis_single import EmbeddedRedis
from s6.store import Store, StoreUnavailable, open_store
from s6.urls import Broker
from tests.support.waiting import wait_for
from tests.unit.health.parts import REDUCED, Dependencies


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/s6.db")
    store.init()
    yield store
    store.close()


def all_well(parts: Dependencies) -> None:
    for role in ("worker", "listener", "beat"):
        send_heartbeat(parts.redis, role, parts.clock.now)
    for name in ("s1", "s4", "s10", "s12"):
        parts.breaker.probed(name, 4)
    parts.redis.set("s6:reconciled", "1")
    parts.redis.hset("s6:sweep:last", "ts", str(parts.clock.now - 2_000))


def reporter(parts: Dependencies, broker_url: str, store: Store) -> Callable[[], dict[str, Any]]:
    made = HealthReporter(parts.redis, Broker(broker_url), store, parts.gate, parts.clock, 10.0)

    def report() -> dict[str, Any]:
        parts.gate._read_at = float("-inf")
        parts.breaker._known.clear()
        return made.report()

    return report


def test_all_well(parts: Dependencies, broker_url: str, store: Store) -> None:
    all_well(parts)
    parts.hold("BTCUSDT", parts.clock.now - 30)
    report = reporter(parts, broker_url, store)
    body = wait_for(lambda: (found := report())["status"] == "OK" and found)
    assert body["mode"] == "NORMAL"
    assert set(body["checks"]) == {
        "redis",
        "broker",
        "store",
        "worker",
        "listener",
        "beat",
        "s1",
        "s4",
        "s10",
        "s12",
    }
    assert all(check["status"] == "OK" and check["latency_ms"] >= 0 for check in body["checks"].values())
    assert body["ws_lag_ms"] == {"BTCUSDT": 30}
    assert body["manage_tick_delay_ms"] == 0
    assert body["bundle_version"] == "b-1"
    assert jsonx.dumps(body)


@pytest.mark.parametrize("lost", ["s6:bundle", "s6:reconciled", "worker", "listener", "beat"])
def test_down_without_what_governing_needs(lost: str, parts: Dependencies, broker_url: str, store: Store) -> None:
    all_well(parts)
    for key in parts.redis.scan_iter(f"s6:alive:{lost}:*"):
        parts.redis.delete(key)
    parts.redis.delete(lost)
    body = reporter(parts, broker_url, store)()
    assert body["status"] == "DOWN"
    assert len(body["reasons"]) == 1


def test_degraded_by_a_neighbour_a_store_a_market_or_a_fatal(
    parts: Dependencies, broker_url: str, store: Store
) -> None:
    all_well(parts)
    for _ in range(3):
        parts.breaker.failed("s10", "HTTP 503")
    body = reporter(parts, broker_url, store)()
    assert (body["status"], body["mode"]) == ("DEGRADED", "NORMAL")
    assert body["checks"]["s10"] == {"status": "DOWN", "latency_ms": None, "detail": "HTTP 503"}
    parts.breaker.succeeded("s10", 1)
    parts.says("s1", "DEGRADED")
    body = reporter(parts, broker_url, store)()
    assert (body["status"], body["checks"]["s1"]["status"]) == ("DEGRADED", "DEGRADED")
    parts.redis.delete("prod:health:s1")
    parts.hold("BTCUSDT", parts.clock.now - 6_000)
    body = reporter(parts, broker_url, store)()
    assert (body["status"], body["mode"]) == ("DEGRADED", REDUCED)
    assert body["ws_lag_ms"] == {"BTCUSDT": 6_000}
    parts.hold("BTCUSDT", parts.clock.now)
    body = reporter(parts, broker_url, cast(Store, AwayStore()))()
    assert (body["status"], body["checks"]["store"]["status"]) == ("DEGRADED", "DOWN")
    parts.alerts.raise_alert("FATAL", "X", "x")
    assert reporter(parts, broker_url, store)()["mode"] == REDUCED


def test_on_a_cluster(cluster_url: str, broker_url: str, store: Store) -> None:
    with connect(cluster_url) as client:
        parts = Dependencies.on(client)
        all_well(parts)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            parts.hold(symbol, parts.clock.now)
        report = reporter(parts, broker_url, store)
        body = wait_for(lambda: (found := report())["status"] == "OK" and found)
        assert body["ws_lag_ms"] == {"BTCUSDT": 0, "ETHUSDT": 0}


def test_a_worker_that_no_longer_sweeps_is_down(parts: Dependencies, broker_url: str, store: Store) -> None:
    all_well(parts)
    parts.redis.hset("s6:sweep:last", "ts", str(parts.clock.now - 70_000))
    body = reporter(parts, broker_url, store)()
    assert body["status"] == "DOWN"
    assert body["manage_tick_delay_ms"] == 60_000


def test_the_first_sweep_is_awaited_from_the_reconciliation(parts: Dependencies, broker_url: str, store: Store) -> None:
    all_well(parts)
    parts.redis.delete("s6:sweep:last")
    parts.redis.set("s6:reconciled", str(parts.clock.now - 12_000))
    assert reporter(parts, broker_url, store)()["manage_tick_delay_ms"] == 2_000


def test_without_redis_or_broker(own_redis: EmbeddedRedis, store: Store) -> None:
    with connect(own_redis.url()) as client:
        parts = Dependencies.on(client)
        all_well(parts)
        report = reporter(parts, own_redis.url(1), store)
        assert wait_for(lambda: report()["status"] == "OK")
        own_redis.stop()
        began = time.monotonic()
        body = report()
        assert time.monotonic() - began < 2
        assert body["status"] == "DOWN"
        assert body["mode"] == REDUCED
        assert body["checks"]["redis"]["status"] == body["checks"]["broker"]["status"] == "DOWN"
        own_redis.start()
        assert wait_for(lambda: report()["checks"]["redis"]["status"] == "OK")


def test_whether_redis_answers(own_redis: EmbeddedRedis, store: Store) -> None:
    with connect(own_redis.url()) as client:
        parts = Dependencies.on(client)
        made = HealthReporter(parts.redis, Broker(own_redis.url(1)), store, parts.gate, parts.clock, 10.0)
        assert made.redis_answers()
        own_redis.freeze()
        began = time.monotonic()
        assert not made.redis_answers()
        assert time.monotonic() - began < 2
        own_redis.thaw()
        assert wait_for(made.redis_answers)
        own_redis.stop()
        assert not made.redis_answers()


def test_nothing_that_hangs_makes_it_slow(own_redis: EmbeddedRedis) -> None:
    hanging = HangingStore()
    with connect(own_redis.url()) as client:
        parts = Dependencies.on(client)
        all_well(parts)
        report = reporter(parts, own_redis.url(1), cast(Store, hanging))
        began = time.monotonic()
        body = report()
        assert time.monotonic() - began < 2
        assert body["checks"]["store"]["status"] == "DOWN"
        own_redis.freeze()
        for _ in range(2):
            began = time.monotonic()
            body = report()
            assert time.monotonic() - began < 2
            assert body["status"] == "DOWN"
        assert hanging.asked == 1
        own_redis.thaw()
        hanging.release.set()
        assert wait_for(lambda: report()["status"] == "OK")


class AwayStore:
    def ping(self) -> None:
        raise StoreUnavailable("away")


class HangingStore:
    """Answers no ping until it is released."""

    def __init__(self) -> None:
        self.asked, self.release = 0, threading.Event()

    def ping(self) -> None:
        self.asked += 1
        self.release.wait(30)
