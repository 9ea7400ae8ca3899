"""The watcher asks S10 when an event says so, when its period is over, when Redis has lost the bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
from redis.exceptions import RedisError

from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_text import text
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.bundles.watcher import BundleWatcher
from s6.model import jsonx
from s6.standalone.redis_single import EmbeddedRedis
from s6.threads import LoopThread
from tests.support.bundles import MemoryConfig, bundle_text
from tests.support.doubles import ManualClock, MemoryAlerts, MemoryMetrics
from tests.support.waiting import wait_for
from tests.unit.bundles.versions import version

Watch = Callable[..., LoopThread]


def watching(client: RedisClient, bundles: Bundles, alerts: AlertLog, poll_s: float) -> LoopThread:
    """Start a watcher."""
    watcher = BundleWatcher(client, bundles, alerts, poll_s, Reader(ManualClock(), bundles))
    loop = LoopThread("bundle-watcher", watcher.round, watcher.close)
    loop.start()
    return loop


@pytest.fixture
def watch(redis_client: RedisClient, bundles: Bundles, alerts: AlertLog) -> Iterator[Watch]:
    started: list[LoopThread] = []

    def start(poll_s: float = 60.0) -> LoopThread:
        started.append(watching(redis_client, bundles, alerts, poll_s))
        return started[-1]

    yield start
    for watcher in started:
        watcher.stop()
        watcher.join(10)
        assert not watcher.is_alive()


def subscribers(client: RedisClient) -> int:
    try:
        [(_, count)] = client.pubsub_numsub("cfg:events")
    except RedisError:
        return 0
    return int(count)


def test_an_event_is_followed_at_once(
    watch: Watch, bundles: Bundles, s10: MemoryConfig, redis_client: RedisClient
) -> None:
    watch()
    wait_for(lambda: version(bundles) == "b-1")
    wait_for(lambda: subscribers(redis_client) == 1)
    s10.text = bundle_text("b-2")
    redis_client.publish("cfg:events", jsonx.dumps({"version": "b-2", "ts": 1}))
    wait_for(lambda: version(bundles) == "b-2", timeout=2)


def test_an_event_ahead_of_its_bundle_is_not_forgotten(
    watch: Watch, bundles: Bundles, s10: MemoryConfig, redis_client: RedisClient
) -> None:
    watch()
    wait_for(lambda: subscribers(redis_client) == 1)
    wait_for(lambda: version(bundles) == "b-1")
    before = len(s10.asked)
    redis_client.publish("cfg:events", jsonx.dumps({"version": "b-2", "ts": 1}))
    wait_for(lambda: len(s10.asked) > before + 1)
    s10.text = bundle_text("b-2")
    wait_for(lambda: version(bundles) == "b-2", timeout=8)


def test_a_malformed_event_goes_to_the_dead_letters_and_s10_is_asked(
    watch: Watch, bundles: Bundles, s10: MemoryConfig, redis_client: RedisClient
) -> None:
    watch()
    wait_for(lambda: subscribers(redis_client) == 1)
    s10.text = bundle_text("b-2")
    redis_client.publish("cfg:events", "{")
    wait_for(lambda: version(bundles) == "b-2")
    [(_, letter)] = wait_for(lambda: text(redis_client).xrevrange("s6:deadletter", count=10))
    assert (letter["source"], letter["payload"]) == ("cfg:events", "{")


def test_asked_by_period_too_and_with_back_off_after_failures(
    watch: Watch, bundles: Bundles, s10: MemoryConfig
) -> None:
    s10.down = True
    watch(poll_s=0.5)
    wait_for(lambda: len(s10.asked) >= 3)
    s10.down = False
    wait_for(lambda: version(bundles) == "b-1")
    s10.text = bundle_text("b-2")
    wait_for(lambda: version(bundles) == "b-2", timeout=3)


@pytest.mark.parametrize(("wanted_s", "waited_s", "told"), [(30, 30, []), (86_400, 60, ["S10_RETRY_AFTER"])])
def test_a_rest_that_s10_wants_is_granted_for_a_minute_at_most_whatever_is_published(
    redis_client: RedisClient, bundles: Bundles, s10: MemoryConfig, wanted_s: int, waited_s: int, told: list[str]
) -> None:
    alerts = MemoryAlerts()
    watcher = BundleWatcher(redis_client, bundles, cast(AlertLog, alerts), 5.0, Reader(ManualClock(), bundles))
    s10.down, s10.retry_after_ms = True, wanted_s * 1000
    watcher.round()
    watcher.round()  # subscribes, which is a reason to ask as well
    redis_client.publish("cfg:events", jsonx.dumps({"version": "b-2", "ts": 1}))
    for _ in range(3):
        watcher.round()
    assert len(s10.asked) == 1
    assert waited_s - 5 < watcher._due - time.monotonic() <= waited_s
    assert [alert[:2] for alert in alerts.raised] == [("ERROR", code) for code in told]
    watcher.close()


def test_redis_emptied_is_noticed_at_once(watch: Watch, bundles: Bundles, redis_client: RedisClient) -> None:
    watch()
    wait_for(lambda: version(bundles) == "b-1")
    redis_client.flushdb()
    wait_for(lambda: not bundles.missing(), timeout=3)


def test_the_watcher_outlives_redis(own_redis: EmbeddedRedis, s10: MemoryConfig) -> None:
    with connect(own_redis.url()) as client:
        alerts = AlertLog(client, ManualClock(), MemoryMetrics())
        bundles = Bundles(client, s10, alerts, ManualClock())
        watcher = watching(client, bundles, alerts, 1.0)
        wait_for(lambda: version(bundles) == "b-1")
        own_redis.stop()
        assert version(bundles) == "b-1"
        s10.text = bundle_text("b-2")
        own_redis.start()
        wait_for(lambda: version(bundles) == "b-2")
        wait_for(lambda: subscribers(client) == 1)
        s10.text = bundle_text("b-3")
        client.publish("cfg:events", jsonx.dumps({"version": "b-3", "ts": 1}))
        wait_for(lambda: version(bundles) == "b-3")
        watcher.stop()
        watcher.join(10)
        assert not watcher.is_alive()


def test_on_a_cluster(cluster_url: str, s10: MemoryConfig) -> None:
    with connect(cluster_url) as client:
        alerts = AlertLog(client, ManualClock(), MemoryMetrics())
        bundles = Bundles(client, s10, alerts, ManualClock())
        watcher = watching(client, bundles, alerts, 60.0)
        wait_for(lambda: version(bundles) == "b-1")
        s10.text = bundle_text("b-2")

        def followed() -> bool:
            client.publish("cfg:events", jsonx.dumps({"version": "b-2", "ts": 1}))
            return version(bundles) == "b-2"

        wait_for(followed, every=0.2)
        watcher.stop()
        watcher.join(10)
        assert not watcher.is_alive()
