"""The Active Bundle: swapped in at once everywhere, refused whole, never lost."""

from __future__ import annotations

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.model import jsonx
from s6.ports import NeighbourUnavailable
from tests.support.bundles import MemoryConfig, bundle_text
from tests.support.doubles import ManualClock
from tests.unit.bundles.versions import version


@pytest.fixture
def elsewhere(redis_client: RedisClient, s10: MemoryConfig, alerts: AlertLog) -> Bundles:
    """Another process's."""
    return Bundles(redis_client, s10, alerts, ManualClock())


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


def test_the_last_twenty_in_force_are_kept_the_newest_first(
    bundles: Bundles, s10: MemoryConfig, redis_client: RedisClient
) -> None:
    for number in range(25):
        s10.text = bundle_text(f"b-{number}")
        assert bundles.refresh() == "SWAPPED"
        assert bundles.refresh() == "UNCHANGED"
    kept = [jsonx.loads(one) for one in redis_client.lrange(keys.BUNDLES_KEPT, 0, -1)]
    assert [one["version"] for one in kept] == [f"b-{number}" for number in range(24, 4, -1)]
    assert kept[0]["text"] == s10.text and kept[0]["ts"] > 0


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
