"""People are notified once, and whether they were told is not the same as whether an alert is quiet."""

from __future__ import annotations

import pytest
import requests

from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import TextRedis, text
from s6.alerts.log import AlertLog
from s6.alerts.notify import notify_pending
from s6.model import jsonx
from tests.support.doubles import ManualClock, MemoryMetrics
from tests.support.http_server import Asked, HttpServer, Reply


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
        assert notify_pending(redis_client, [url]) == 1
        assert notify_pending(redis_client, [url]) == 0
        [asked] = people.asked
        message = jsonx.loads(asked.body)["message"]
        assert "letter 0" in message
        assert "worse" in message
        assert "people know" not in message


def _url(people: HttpServer) -> str:
    return people.url.replace("http://", "json://")


def _end_pauses(redis: TextRedis) -> int:
    """End the pauses that last; returns the longest, in ms."""
    turns = redis.keys("{s6:alerts}:people:*:turn")  # type: ignore[attr-defined]
    longest = max((redis.pttl(turn) for turn in turns), default=0)
    redis.delete(*turns)
    return int(longest)


@apprise_imports
def test_what_fails_is_repeated_after_pauses_until_it_is_sent_once(
    book: AlertLog, redis_client: RedisClient, redis: TextRedis
) -> None:
    with HttpServer(lambda asked: Reply()) as well, HttpServer(lambda asked: Reply(500)) as ill:
        book.raise_alert("ERROR", "X", "one")
        urls = [_url(ill), _url(well), "nonsense://x"]
        pauses = []
        for _ in range(9):
            notify_pending(redis_client, urls)
            notify_pending(redis_client, urls)  # within the pause: nobody is asked
            pauses.append(_end_pauses(redis))
        assert len(well.asked) == 1
        assert len(ill.asked) == 9
        assert [round(pause / 1000) for pause in pauses[:4]] == [5, 10, 20, 40]
        assert round(pauses[-1] / 1000) == 300
        book.raise_alert("ERROR", "Y", "two")
        ill.respond = lambda asked: Reply()
        assert notify_pending(redis_client, urls) == 2
        assert [message(asked) for asked in ill.asked][-1].splitlines()[0].startswith("ERROR X: one")
        assert "Y: two" in message(ill.asked[-1])
        assert "Y: two" in message(well.asked[-1])
        assert "X: one" not in message(well.asked[-1])
        assert notify_pending(redis_client, urls) == 0


@apprise_imports
def test_what_waits_for_a_dead_service_is_bounded_and_the_newest(book: AlertLog, redis_client: RedisClient) -> None:
    for number in range(1010):
        book.raise_alert("ERROR", f"C{number}", "x")
    assert redis_client.xlen("{s6:alerts}:people") == 1000
    with HttpServer(lambda asked: Reply()) as people:
        assert notify_pending(redis_client, [_url(people)]) == 1
        assert message(people.asked[0]).startswith("ERROR C10: x")
        assert redis_client.xlen("{s6:alerts}:people") == 980


@apprise_imports
def test_only_one_process_at_a_time_sends_to_a_service(book: AlertLog, redis_client: RedisClient) -> None:
    with HttpServer(lambda asked: Reply()) as people:
        book.raise_alert("ERROR", "X", "x")

        def meanwhile(asked: Asked) -> Reply:
            assert notify_pending(redis_client, [_url(people)]) == 0
            return Reply()

        people.respond = meanwhile
        assert notify_pending(redis_client, [_url(people)]) == 1
        assert len(people.asked) == 1


@apprise_imports
def test_a_detail_arrives_at_telegram_as_text(
    book: AlertLog, redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def post(where: str, data: str | bytes = "", **rest: object) -> requests.Response:
        sent.append(data if isinstance(data, str) else data.decode())
        answer = requests.Response()
        answer.status_code, answer._content = 200, b'{"ok": true, "result": []}'
        return answer

    monkeypatch.setattr(requests, "post", post)
    book.raise_alert("ERROR", "X", "bid < ask & <b>")
    assert notify_pending(redis_client, ["tgram://123456789:abcdefg_hijklmnop/12315544/"]) == 1
    assert "ERROR X: bid &lt; ask &amp; &lt;b&gt;" in str(jsonx.loads(sent[-1]))


def message(asked: Asked) -> str:
    return str(jsonx.loads(asked.body)["message"])


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
    waiting = redis.xrange("{s6:alerts}:people", min="-", count=10)
    assert [fields["alert_id"] for _, fields in waiting] == [first, other]
