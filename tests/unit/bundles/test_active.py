"""The Active Bundle: swapped in at once everywhere, refused whole, never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import RedisError

from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_text import text
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.bundles.watcher import BundleWatcher
from s6.model import jsonx
from s6.ports import NeighbourUnavailable
from s6.standalone.redis_single import EmbeddedRedis
from s6.threads import LoopThread
from tests.support.bundles import MemoryConfig, bundle_text
from tests.support.doubles import ManualClock, MemoryMetrics
from tests.support.waiting import wait_for

Watch = Callable[..., LoopThread]


def watching(client: RedisClient, bundles: Bundles, alerts: AlertLog, poll_s: float) -> LoopThread:
    """Start a watcher."""
    watcher = BundleWatcher(client, bundles, alerts, poll_s, Reader(ManualClock(), bundles))
    loop = LoopThread("bundle-watcher", watcher.round, watcher.close)
    loop.start()
    return loop


@pytest.fixture
def s10() -> MemoryConfig:
    return MemoryConfig()


@pytest.fixture
def alerts(redis_client: RedisClient) -> AlertLog:
    return AlertLog(redis_client, ManualClock(), MemoryMetrics())


@pytest.fixture
def bundles(redis_client: RedisClient, s10: MemoryConfig, alerts: AlertLog) -> Bundles:
    return Bundles(redis_client, s10, alerts, ManualClock())


@pytest.fixture
def elsewhere(redis_client: RedisClient, s10: MemoryConfig, alerts: AlertLog) -> Bundles:
    """Another process's."""
    return Bundles(redis_client, s10, alerts, ManualClock())


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


def version(bundles: Bundles) -> str | None:
    current = bundles.current()
    return current.version if current else None


def subscribers(client: RedisClient) -> int:
    try:
        [(_, count)] = client.pubsub_numsub("cfg:events")
    except RedisError:
        return 0
    return int(count)


def refusals(client: RedisClient) -> list[str]:
    entries = [fields for _, fields in text(client).xrevrange("s6:alerts", count=100)]
    return [fields["detail"] for fields in entries if fields["code"] == "BUNDLE_REFUSED"]


def test_none_before_the_first(bundles: Bundles) -> None:
    assert bundles.current() is None
    assert bundles.missing()


def test_fetched_once_and_the_same_object_everywhere_until_it_changes(
    bundles: Bundles, elsewhere: Bundles, s10: MemoryConfig
) -> None:
    assert bundles.refresh() == "SWAPPED"
    assert version(elsewhere) == "b-1"
    first = elsewhere.current()
    assert elsewhere.current() is first
    assert bundles.refresh() == "UNCHANGED"
    assert s10.asked == ["", f'"{hash(s10.text)}"']
    s10.text = bundle_text("b-2")
    assert bundles.refresh() == "SWAPPED"
    assert version(elsewhere) == "b-2"
    assert first is not None
    assert first.version == "b-1"


def test_changed_text_under_the_same_version_counts(bundles: Bundles, elsewhere: Bundles, s10: MemoryConfig) -> None:
    bundles.refresh()
    s10.text = bundle_text("b-1", health={"market_stale_ms": 7})
    assert bundles.refresh() == "SWAPPED"
    current = elsewhere.current()
    assert current is not None
    assert current.health.market_stale_ms == 7


def test_without_etags_the_text_decides(bundles: Bundles, s10: MemoryConfig) -> None:
    s10.with_etag = False
    assert [bundles.refresh(), bundles.refresh()] == ["SWAPPED", "UNCHANGED"]
    assert bundles.refresh(force=True) == "UNCHANGED"


def test_a_bad_bundle_is_refused_whole_with_one_alert(
    bundles: Bundles, elsewhere: Bundles, s10: MemoryConfig, redis_client: RedisClient
) -> None:
    bundles.refresh()
    s10.text = bundle_text("b-2", health={"market_stale_ms": -1}, limits={"adds_in_flight": "many"})
    assert [bundles.refresh() for _ in range(3)] == ["REFUSED"] * 3
    assert elsewhere.refresh() == "REFUSED"
    assert version(bundles) == version(elsewhere) == "b-1"
    [detail] = refusals(redis_client)
    assert "health.market_stale_ms" in detail
    assert "limits.adds_in_flight" in detail
    s10.text = "not json"
    assert bundles.refresh() == "REFUSED"
    assert len(refusals(redis_client)) == 2
    s10.text = bundle_text("b-3")
    assert bundles.refresh() == "SWAPPED"


def test_a_slow_process_does_not_bring_back_what_was_replaced(
    bundles: Bundles, elsewhere: Bundles, s10: MemoryConfig
) -> None:
    bundles.refresh()
    s10.text = bundle_text("b-2")
    fetch = s10.active

    def overtaken(etag: str = "") -> object:
        fetched = fetch(etag)
        s10.active = fetch  # type: ignore[method-assign]
        s10.text = bundle_text("b-3")
        assert elsewhere.refresh() == "SWAPPED"
        return fetched

    s10.active = overtaken  # type: ignore[method-assign,assignment]
    assert bundles.refresh() == "UNCHANGED"
    assert version(bundles) == "b-3"


def test_outages_leave_the_last_bundle_in_force(bundles: Bundles, s10: MemoryConfig) -> None:
    bundles.refresh()
    s10.down = True
    with pytest.raises(NeighbourUnavailable):
        bundles.refresh()
    assert version(bundles) == "b-1"


def test_redis_emptied_while_s10_is_away(
    bundles: Bundles, elsewhere: Bundles, s10: MemoryConfig, redis_client: RedisClient
) -> None:
    bundles.refresh()
    redis_client.flushdb()
    s10.down = True
    assert version(bundles) == "b-1"
    with pytest.raises(NeighbourUnavailable):
        bundles.refresh()
    assert version(elsewhere) == "b-1"
    s10.down = False
    assert bundles.refresh() == "UNCHANGED"


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
