"""People are notified once, and whether they were told is not the same as whether an alert is quiet."""

from __future__ import annotations

import pytest

from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import TextRedis, text
from s6.alerts.log import AlertLog
from s6.alerts.notify import notify_pending
from s6.model import jsonx
from tests.support.doubles import ManualClock, MemoryMetrics
from tests.support.http_server import HttpServer, Reply


@pytest.fixture
def book(redis_client: RedisClient) -> AlertLog:
    return AlertLog(redis_client, ManualClock(), MemoryMetrics(), notify_urls=("json://nowhere",))


@pytest.fixture
def redis(redis_client: RedisClient) -> TextRedis:
    return text(redis_client)


apprise_imports = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@apprise_imports
def test_people_are_notified_once_and_repeats_are_quiet(
    book: AlertLog, redis_client: RedisClient, redis: TextRedis
) -> None:
    with HttpServer(lambda asked: Reply()) as people:
        url = people.url.replace("http://", "json://")
        for number in range(3):
            book.raise_alert("ERROR", "DEADLETTER", f"letter {number}")
            book.resolve("NONE", "keeps quiet about other things")
        redis.delete("{s6:alerts}:quiet:ERROR:DEADLETTER::")
        book.raise_alert("ERROR", "DEADLETTER", "a new alert, but people know")
        book.raise_alert("FATAL", "X", "worse", position_id="p-1")
        assert notify_pending(redis_client, []) == 0
        assert notify_pending(redis_client, [url]) == 3
        assert notify_pending(redis_client, [url]) == 0
        [asked] = people.asked
        message = jsonx.loads(asked.body)["message"]
        assert "letter 0" in message
        assert "worse" in message
        assert "people know" not in message


@apprise_imports
def test_a_notification_that_fails_is_not_repeated(book: AlertLog, redis_client: RedisClient) -> None:
    with HttpServer(lambda asked: Reply(500)) as people:
        book.raise_alert("ERROR", "X", "x")
        url = people.url.replace("http://", "json://")
        assert notify_pending(redis_client, [url, "nonsense://x"]) == 1
        assert notify_pending(redis_client, [url]) == 0
        assert len(people.asked) == 1


@apprise_imports
def test_people_are_told_again_after_the_quiet_time(redis_client: RedisClient) -> None:
    """Their quiet time ends by itself, like an alert's own: they are not told once for ever."""
    book = AlertLog(redis_client, ManualClock(), MemoryMetrics(), notify_urls=("json://nowhere",), quiet_ms=90_000)
    book.raise_alert("ERROR", "X", "one", position_id="p-1")
    assert 80_000 < redis_client.pttl("{s6:alerts}:told:ERROR:X:p-1") <= 90_000
    assert 80_000 < redis_client.pttl("{s6:alerts}:quiet:ERROR:X:p-1:") <= 90_000


@apprise_imports
def test_of_one_matter_people_are_told_once_whatever_its_scopes(book: AlertLog, redis: TextRedis) -> None:
    for scope in ("1-0", "2-0"):
        book.raise_alert("WARN", "DEADLETTER", "malformed", scope=scope)
    book.raise_alert("WARN", "DEADLETTER", "malformed", position_id="p-1")
    first, _, other = [fields["alert_id"] for _, fields in reversed(redis.xrevrange("s6:alerts", count=10))]
    assert redis.lpop("{s6:alerts}:notify", 10) == [first, other]
