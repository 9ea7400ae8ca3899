"""Health: when risk is only reduced, how S6 notices, and a report that nothing can hang."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from s6 import keys
from s6.adapters.breaker import SharedBreaker
from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_text import text
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.health.heartbeat import Heartbeat, live_processes, send_heartbeat
from s6.health.mode import ModeGate
from s6.health.poller import Poller, report_neighbour
from s6.health.report import HealthReporter
from s6.model import jsonx
from s6.model.market import MarketView, Tick
from s6.standalone.redis_single import EmbeddedRedis
from s6.store import Store, StoreUnavailable, open_store
from s6.urls import Broker
from tests.support.bundles import MemoryConfig
from tests.support.doubles import ManualClock, MemoryMetrics
from tests.support.http_server import HttpServer, Reply
from tests.support.waiting import wait_for

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
        return cls(redis, clock, metrics, alerts, breaker, bundles, ModeGate(redis, breaker, bundles, alerts))

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


@pytest.fixture
def parts(redis_client: RedisClient) -> Dependencies:
    return Dependencies.on(redis_client)


# -- the gate ----------------------------------------------------------------------------------------------------------


def test_normal_when_all_is_well(parts: Dependencies) -> None:
    assert parts.mode() == "NORMAL"
    assert parts.mode(5_000) == "NORMAL"
    parts.says("s4", "OK")
    parts.says("ws", "DEGRADED")
    assert parts.mode() == "NORMAL"


def test_no_new_risk_on_stale_or_missing_market_data(parts: Dependencies) -> None:
    assert parts.mode(5_001) == REDUCED
    assert parts.mode(None) == REDUCED


@pytest.mark.parametrize("service", ["ws", "s4", "s2", "s11"])
def test_no_new_risk_while_a_health_key_says_down(service: str, parts: Dependencies) -> None:
    parts.says(service, "DOWN")
    assert parts.mode() == REDUCED
    parts.redis.delete(f"prod:health:{service}")
    assert parts.mode() == "NORMAL"


def test_what_is_about_to_be_done_goes_by_this_moments_word(parts: Dependencies) -> None:
    assert parts.mode() == "NORMAL"
    parts.says("ws", "DOWN")
    now = parts.clock.now
    view = MarketView("BTCUSDT", Tick(now, Decimal(1), Decimal(1), Decimal(1)))
    assert parts.gate.mode("FUT", view, now, fresh=True) == "RISK_REDUCTION_ONLY"


def test_no_new_risk_while_s4_does_not_answer(parts: Dependencies) -> None:
    for _ in range(3):
        parts.breaker.failed("s1", "x")
    assert parts.mode() == "NORMAL"
    for _ in range(3):
        parts.breaker.failed("s4", "x")
    assert parts.mode() == REDUCED
    parts.breaker.succeeded("s4", 1)
    assert parts.mode() == "NORMAL"
    assert parts.codes() == ["S1_DOWN", "S4_DOWN", "S4_DOWN_OVER"]


def test_no_new_risk_while_a_fatal_alert_stands(parts: Dependencies) -> None:
    parts.alerts.raise_alert("FATAL", "STOP_MOVE_FAILED", "x", position_id="p-1")
    assert parts.mode() == REDUCED
    [alert_id] = parts.alerts.standing_fatal()
    parts.alerts.ack(alert_id, by="ann")
    assert parts.mode() == "NORMAL"


@pytest.mark.parametrize("value", ["{", "[]", '"DOWN"', '{"status": "down"}', '{"status": []}', "null"])
def test_a_malformed_health_key_is_no_news_and_said_once(value: str, parts: Dependencies) -> None:
    parts.redis.set("prod:health:ws", value)
    assert [parts.mode(), parts.mode()] == ["NORMAL", "NORMAL"]
    assert parts.codes() == ["HEALTH_KEY_MALFORMED"]


def test_no_new_risk_without_redis(own_redis: EmbeddedRedis) -> None:
    with connect(own_redis.url()) as client:
        parts = Dependencies.on(client)
        assert parts.mode() == "NORMAL"
        own_redis.stop()
        assert parts.mode() == REDUCED


# -- the poller --------------------------------------------------------------------------------------------------------


@pytest.fixture
def poll(parts: Dependencies) -> Iterator[Callable[[dict[str, str]], Poller]]:
    started: list[Poller] = []

    def start(neighbours: dict[str, str]) -> Poller:
        poller = Poller(
            parts.redis,
            neighbours,
            parts.breaker,
            parts.gate,
            parts.bundles,
            parts.alerts,
            parts.metrics,
            parts.clock,
        )
        poller._period = lambda: 0.05  # type: ignore[method-assign]
        started.append(poller)
        poller.start()
        return poller

    yield start
    for poller in started:
        poller.stop()
        poller.join(10)
        assert not poller.is_alive()


def test_an_outage_and_its_end_are_noticed(parts: Dependencies, poll: Callable[[dict[str, str]], Poller]) -> None:
    with HttpServer(lambda asked: Reply()) as s4, HttpServer(lambda asked: Reply(body=b"fine")) as s1:
        poll({"s4": s4.url, "s1": s1.url, "s10": "http://127.0.0.1:1", "s12": ""})
        wait_for(lambda: "S10_DOWN" in parts.codes())
        assert parts.mode() == "NORMAL"
        s4.respond = lambda asked: Reply(503)
        wait_for(lambda: parts.mode() == REDUCED)
        s4.respond = lambda asked: Reply()
        wait_for(lambda: parts.mode() == "NORMAL")
        assert {asked.path for asked in s4.asked} == {"/health"}
    assert parts.codes() == ["S10_DOWN", "S4_DOWN", "S4_DOWN_OVER"]
    assert ("set", "s6_neighbour_up", 0, {"neighbour": "s10"}) in parts.metrics.samples


def test_stale_markets_are_told_of_when_something_is_held(
    parts: Dependencies, poll: Callable[[dict[str, str]], Poller]
) -> None:
    parts.redis.hset(keys.market("ETHUSDT"), "ts", "1")
    parts.hold("BTCUSDT", parts.clock.now - 6_000)
    poll({})
    wait_for(lambda: "MARKET_STALE" in parts.codes())
    assert ("set", "s6_mode", 1, {"mode": REDUCED}) in parts.metrics.samples
    parts.hold("BTCUSDT", parts.clock.now)
    wait_for(lambda: parts.codes() == ["MARKET_STALE", "MARKET_STALE_OVER"])
    wait_for(lambda: ("set", "s6_mode", 1, {"mode": "NORMAL"}) in parts.metrics.samples)


def test_what_the_health_keys_say_is_told(parts: Dependencies, poll: Callable[[dict[str, str]], Poller]) -> None:
    poll({})
    parts.says("ws", "DOWN")
    wait_for(lambda: "WS_DOWN" in parts.codes())
    parts.says("ws", "OK")
    wait_for(lambda: "WS_DOWN_OVER" in parts.codes())


# -- heartbeats --------------------------------------------------------------------------------------------------------


def test_a_heart_is_heard_and_falls_silent(redis_client: RedisClient) -> None:
    clock = ManualClock()
    heart = Heartbeat(redis_client, "worker", clock)
    heart.start()
    [beat] = wait_for(lambda: live_processes(redis_client))
    assert (beat.role, beat.ts) == ("worker", clock.now)
    assert 0 < redis_client.pttl(f"s6:alive:worker:{beat.host}-{beat.pid}") <= 10_000
    heart.stop()
    heart.join(5)
    assert live_processes(redis_client) == []


def test_a_dead_process_leaves_the_index(redis_client: RedisClient) -> None:
    redis_client.sadd("s6:alive", "worker:gone-1")
    send_heartbeat(redis_client, "beat", 5)
    assert [beat.role for beat in live_processes(redis_client)] == ["beat"]
    assert len(redis_client.smembers("s6:alive")) == 1


def test_a_process_that_hangs_falls_silent(redis_client: RedisClient) -> None:
    asked = threading.Event()

    def hangs() -> bool:
        asked.set()
        return False

    heart = Heartbeat(redis_client, "listener", ManualClock(), hangs)
    heart.start()
    assert asked.wait(5)
    assert live_processes(redis_client) == []
    heart.stop()
    heart.join(5)


# -- the report --------------------------------------------------------------------------------------------------------


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
