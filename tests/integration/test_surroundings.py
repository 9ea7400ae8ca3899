"""One S6 under load; its Redis freezes and restarts, its store goes away, copies of its processes come and go."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from s6.standalone.redis_single import EmbeddedRedis
from tests.chaos.world import World
from tests.doubles.arango import ArangoDouble, Fault
from tests.support.governed import START, Governed, governed
from tests.support.procs import S6Processes
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
OPERATOR = {"Authorization": "Bearer ops-token"}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArangoDouble]:
    with ArangoDouble() as double:
        yield double


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, redis: EmbeddedRedis, store: ArangoDouble) -> Iterator[Governed]:
    env = {
        "S6_REDIS_URL": redis.url(0),
        "S6_BROKER_URL": redis.url(1),
        "S6_STORE_URL": store.url(),
        "S6_API_TOKENS": "operator:ops:ops-token",
        "S6_MANAGE_TICK_S": "2",
    }
    folder: Path = tmp_path_factory.mktemp("s6")
    with S6Processes(folder, env) as s6, governed(s6) as running:
        yield running


@contextmanager
def load(world: Governed, seed: int) -> Iterator[World]:
    market = World(world.paper.base_url, seed=seed, count=10)
    market.start()
    wait_for(lambda: len(world.paper.positions(open_only=True)) >= 10, 20, "positions entered")
    yield market
    market.stop()
    world.settled()
    assert world.faults() == []


def test_redis_freezes_and_thaws(world: Governed, redis: EmbeddedRedis) -> None:
    with load(world, seed=11) as market:
        world.paper.note("Redis frozen", lasts_ms=8_000)
        redis.freeze()
        began = time.monotonic()
        assert world.s6.health() == 503
        assert time.monotonic() - began < 2.5
        time.sleep(max(0.0, 5 - (time.monotonic() - began)))  # the length of the freeze is what is tested
        redis.thaw()
        world.s6.healthy(20)
        entered = market.entered
        wait_for(lambda: market.entered > entered, 60, "life goes on")


def test_redis_restarts_with_its_append_only_file(world: Governed, redis: EmbeddedRedis) -> None:
    with load(world, seed=12) as market:
        for end in (redis.stop, redis.kill):
            world.paper.note("Redis restarted", lasts_ms=8_000)
            end()
            redis.start()
            world.s6.healthy(20)
            entered = market.entered
            wait_for(lambda entered=entered: market.entered > entered, 60, "life goes on")  # type: ignore[misc]
        assert all(process.alive for process in world.s6.started)


def test_copies_of_everything_do_no_harm(world: Governed) -> None:
    s6 = world.s6
    with load(world, seed=13):
        firsts = {name: s6[name] for name in ("worker", "beat", "listener")}
        world.paper.note("three interpreters start at once", lasts_ms=8_000)
        for name in firsts:
            s6.start(name)
        s6.ready(firsts)
        time.sleep(3)  # all of them at work together, for a while
        for first in firsts.values():
            assert first.stop() in (0, -signal.SIGTERM)
        assert s6.health() == 200


def test_sigterm_under_load_leaves_nothing_half_done(world: Governed) -> None:
    s6 = world.s6
    with load(world, seed=14):
        world.paper.fault(http={"s4": {"latency_ms": 300}})
        for name in ("worker", "listener", "web", "beat"):
            world.paper.note(f"SIGTERM {name}", lasts_ms=8_000)
            began = time.monotonic()
            s6[name].stop()
            assert time.monotonic() - began < 10
            s6.start(name)
        s6.ready()
        world.paper.clear_faults()


def test_the_store_away_for_a_while_loses_nothing(world: Governed, store: ArangoDouble) -> None:
    away = Fault("503", times=1_000_000)
    store.faults.append(away)
    try:
        with load(world, seed=15) as market:
            entered = market.entered
            wait_for(lambda: world.alerts("STORE_BACKLOG"), 20, "the alert")
            assert world.health()["status"] == "DEGRADED"
            wait_for(lambda: market.entered > entered, 60, "life goes on")
            store.faults.remove(away)
    finally:
        if away in store.faults:
            store.faults.remove(away)


def test_s4_down_then_back(world: Governed) -> None:
    _acknowledge_overruns(world)
    world.tick(START)
    names = world.enter(1)
    world.protected(names)
    world.paper.fault(http={"s4": {"down": "error"}})
    wait_for(lambda: world.health()["mode"] == "RISK_REDUCTION_ONLY", 15, "the mode")
    wait_for(lambda: world.alerts("S4_DOWN"), 15, "the alert")
    world.paper.clear_faults()
    wait_for(lambda: not _because_of(world, "s4"), 15, "noticed that S4 is back")
    world.tick(START + 200)
    world.protected(names)
    world.paper.manual_close(names[0])
    wait_for(lambda: world.state(names[0])["status"] == "CLOSED", 10, "closed by hand")
    world.settled()
    assert world.faults() == []


def test_a_fatal_alert_stands_until_acknowledged(world: Governed) -> None:
    _acknowledge_overruns(world)
    world.tick(START)
    names = world.enter(1)
    world.protected(names)
    world.paper.script("order:SL", "reject", count=2, reason="REJECTED_BY_EXCHANGE")
    world.tick(START + 250)
    wait_for(lambda: world.state(names[0])["status"] == "CLOSED", 15, "closed at market")
    alert = wait_for(lambda: world.alerts("STOP_MOVE_FAILED"), 10, "the FATAL alert")[-1]
    wait_for(lambda: world.health()["mode"] == "RISK_REDUCTION_ONLY", 5, "the mode")
    _acknowledge(world, alert)
    wait_for(lambda: not _because_of(world, "FATAL"), 5, "the mode back")
    world.settled()
    assert world.faults() == []


def _acknowledge(world: Governed, alert: dict[str, Any]) -> None:
    url = f"{world.s6.url}/alerts/{alert['alert_id']}/ack"
    assert requests.post(url, json={"by": "a test"}, headers=OPERATOR, timeout=5).status_code == 200


def _acknowledge_overruns(world: Governed) -> None:
    """A Redis that was frozen for longer than a lock lasts may have left a FATAL; nothing else may stand."""
    for alert_id in world.redis.smembers("{s6:alerts}:fatal"):
        [alert] = [alert for alert in world.alerts("LOCK_OVERRUN") if alert["alert_id"] == alert_id]
        _acknowledge(world, alert)


def _because_of(world: Governed, word: str) -> bool:
    health: dict[str, Any] = world.health()
    return word in str(health.get("reasons", "")) or bool(world.redis.scard("{s6:alerts}:fatal"))
