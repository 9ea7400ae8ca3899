"""Alerts: told once, standing until acknowledged, kept in the store, people notified once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from redis.exceptions import ConnectionError

from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_text import TextRedis, text
from s6.alerts.log import AlertLog
from s6.model import jsonx
from s6.model.commit import Alert
from s6.model.types import Severity
from s6.ports import StateUnavailable
from s6.standalone.redis_single import EmbeddedRedis
from s6.store import Store, StoreUnavailable, open_store
from tests.support.doubles import ManualClock, MemoryMetrics
from tests.support.waiting import wait_for


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def metrics() -> MemoryMetrics:
    return MemoryMetrics()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/s6.db")
    store.init()
    yield store
    store.close()


@pytest.fixture
def book(redis_client: RedisClient, clock: ManualClock, metrics: MemoryMetrics, store: Store) -> AlertLog:
    return AlertLog(redis_client, clock, metrics, store, notify_urls=("json://nowhere",))


@pytest.fixture
def redis(redis_client: RedisClient) -> TextRedis:
    return text(redis_client)


def told(redis: TextRedis) -> list[dict[str, str]]:
    return [fields for _, fields in reversed(redis.xrevrange("s6:alerts", count=1000))]


def test_an_alert_goes_to_the_stream_with_the_contract_s_fields(
    book: AlertLog, redis: TextRedis, clock: ManualClock, metrics: MemoryMetrics
) -> None:
    book.raise_alert("ERROR", "OVERSELL", "held 1, asked 2", position_id="p-1")
    book.raise_alert("WARN", "S10_DOWN", "silence")
    first, second = told(redis)
    assert first == {
        "alert_id": first["alert_id"],
        "ts": str(clock.now),
        "severity": "ERROR",
        "code": "OVERSELL",
        "position_id": "p-1",
        "detail": "held 1, asked 2",
    }
    assert "position_id" not in second
    assert ("inc", "s6_alerts_total", 1, {"severity": "ERROR", "code": "OVERSELL"}) in metrics.samples


def test_repeats_are_counted_not_told(book: AlertLog, redis: TextRedis, clock: ManualClock) -> None:
    for _ in range(3):
        book.raise_alert("ERROR", "STOP_MOVE_FAILED", "no", position_id="p-1")
        clock.now += 10
    book.raise_alert("ERROR", "STOP_MOVE_FAILED", "no", position_id="p-2")
    book.raise_alert("FATAL", "STOP_MOVE_FAILED", "no", position_id="p-1")
    entries = told(redis)
    assert [(e["severity"], e["position_id"]) for e in entries] == [
        ("ERROR", "p-1"),
        ("ERROR", "p-2"),
        ("FATAL", "p-1"),
    ]
    doc = book.get(entries[0]["alert_id"])
    assert doc is not None
    assert (doc["repeats"], doc["last_ts"], doc["ts"]) == (2, clock.now - 10, clock.now - 30)


def test_told_again_after_the_quiet_time(redis_client: RedisClient, redis: TextRedis, clock: ManualClock) -> None:
    book = AlertLog(redis_client, clock, MemoryMetrics(), quiet_ms=30)
    book.raise_alert("WARN", "X", "one")
    wait_for(lambda: redis.get("{s6:alerts}:quiet:WARN:X::") is None)
    book.raise_alert("WARN", "X", "two")
    assert [e["detail"] for e in told(redis)] == ["one", "two"]


def test_a_fatal_stands_until_acknowledged(book: AlertLog, redis: TextRedis, clock: ManualClock) -> None:
    book.raise_alert("FATAL", "RETRIES_EXHAUSTED", "six", position_id="p-1")
    [alert_id] = book.standing_fatal()
    redis.delete("{s6:alerts}:told:FATAL:RETRIES_EXHAUSTED:p-1")
    book.raise_alert("FATAL", "RETRIES_EXHAUSTED", "again", position_id="p-1")
    assert book.standing_fatal() == [alert_id]
    doc = book.ack(alert_id, by="ann", note="seen")
    assert doc is not None
    assert doc["ack"] == {"by": "ann", "note": "seen", "ts": clock.now}
    assert book.standing_fatal() == []
    clock.now += 5
    assert book.ack(alert_id, by="bob", note="late") == doc
    assert book.ack("al-none", by="ann") is None
    book.raise_alert("FATAL", "RETRIES_EXHAUSTED", "anew", position_id="p-1")
    assert len(book.standing_fatal()) == 1
    assert len(told(redis)) == 2


def of_a_commit(number: int, severity: Severity = "ERROR") -> Alert:
    return Alert(f"al-5-{number}", 5, severity, "STOP_MOVE_FAILED", "p-1", f"failure {number}")


def test_a_commit_s_alert_is_told_once_however_often_it_is_delivered(
    book: AlertLog, redis: TextRedis, metrics: MemoryMetrics
) -> None:
    for _ in range(3):
        book.deliver(of_a_commit(1, "FATAL"))
    [entry] = told(redis)
    assert (entry["alert_id"], entry["ts"], entry["position_id"]) == ("al-5-1", "5", "p-1")
    assert book.standing_fatal() == ["al-5-1"]
    assert book.ack("al-5-1", by="ann") is not None
    book.deliver(of_a_commit(1, "FATAL"))
    assert book.standing_fatal() == []
    assert len(told(redis)) == 1
    assert [sample[1] for sample in metrics.samples] == ["s6_alerts_total"]


def test_a_commit_s_alert_that_repeats_another_is_counted_once(book: AlertLog, redis: TextRedis) -> None:
    book.deliver(of_a_commit(1))
    for _ in range(2):
        book.deliver(of_a_commit(2))
        book.deliver(of_a_commit(3))
    redis.delete("{s6:alerts}:quiet:ERROR:STOP_MOVE_FAILED:p-1:")
    book.deliver(of_a_commit(2))  # a relay that comes late, when all that is quiet again
    assert [entry["alert_id"] for entry in told(redis)] == ["al-5-1"]
    doc = book.get("al-5-1")
    assert doc is not None
    assert doc["repeats"] == 2


def test_over_lets_it_be_told_anew(book: AlertLog, redis: TextRedis) -> None:
    book.raise_alert("ERROR", "S4_DOWN", "one")
    book.raise_alert("ERROR", "S4_DOWN", "one, still")
    book.resolve("S4_DOWN", "back")
    book.raise_alert("ERROR", "S4_DOWN", "two")
    assert [(e["code"], e["detail"]) for e in told(redis)] == [
        ("S4_DOWN", "one"),
        ("S4_DOWN_OVER", "back"),
        ("S4_DOWN", "two"),
    ]


def test_many_at_once_are_one(book: AlertLog, redis: TextRedis) -> None:
    threads = [threading.Thread(target=book.raise_alert, args=("FATAL", "LOCK_OVERRUN", "x")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told(redis)) == 1
    assert len(book.standing_fatal()) == 1


def test_relay_loses_nothing_when_the_store_fails(book: AlertLog, store: Store) -> None:
    for number in range(450):
        book.raise_alert("WARN", "X", f"{number}", position_id=f"p-{number}")
    flaky = failing(store, fail_at=2)
    with pytest.raises(StoreUnavailable):
        book.relay(flaky)
    assert book.relay(flaky) == 250
    assert book.relay(flaky) == 0
    found: list[object] = []
    cursor: str | None = None
    while True:
        page = store.alerts(limit=200, cursor=cursor)
        found += [doc["position_id"] for doc in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert len(found) == 450
    assert set(found) == {f"p-{number}" for number in range(450)}


def test_an_alert_changed_during_the_relay_is_relayed_again(book: AlertLog, store: Store) -> None:
    book.raise_alert("FATAL", "X", "x")
    [alert_id] = book.standing_fatal()
    acking = failing(store, on_write=lambda: book.ack(alert_id, by="ann", note=""))
    assert book.relay(acking) == 1
    assert book.relay(store) == 1
    [doc] = store.alerts().items
    assert isinstance(doc["ack"], dict)


def test_pages_come_from_the_store_and_from_redis_while_it_is_away(
    book: AlertLog, store: Store, redis_client: RedisClient, clock: ManualClock
) -> None:
    book.raise_alert("WARN", "A", "a")
    clock.now += 1
    book.raise_alert("FATAL", "B", "b", position_id="p-1")
    assert [doc["code"] for doc in book.page(limit=10).items] == ["B", "A"]
    assert [doc["code"] for doc in book.page(limit=10, standing=True).items] == ["B"]
    clock.now += 1
    book.raise_alert("WARN", "C", "c")
    away = AlertLog(redis_client, clock, MemoryMetrics(), failing(store, fail_at=1))
    assert [doc["code"] for doc in away.page(limit=10).items] == ["C", "B", "A"]
    assert [doc["code"] for doc in away.page(limit=1, severity="WARN").items] == ["C"]
    assert [doc["code"] for doc in away.page(limit=10, standing=True).items] == ["B"]


def test_standing_alerts_are_restored_from_the_store(book: AlertLog, store: Store, redis_client: RedisClient) -> None:
    book.raise_alert("FATAL", "X", "x", position_id="p-1")
    [alert_id] = book.standing_fatal()
    book.relay()
    redis_client.flushdb()
    assert book.standing_fatal() == []
    assert book.restore_standing() == 1
    assert book.restore_standing() == 0
    book.raise_alert("FATAL", "X", "again", position_id="p-1")
    assert book.standing_fatal() == [alert_id]
    acked = book.ack(alert_id, by="ann", note="")
    assert acked is not None
    assert (acked["detail"], acked["position_id"]) == ("x", "p-1")
    book.relay()
    assert store.alerts(standing=True).items == []


def test_dead_letters(book: AlertLog, redis: TextRedis, metrics: MemoryMetrics) -> None:
    book.dead_letter("mkt:BTCUSDT", "1-0", "mark: missing", {"ts": "1"})
    book.dead_letter("mkt:BTCUSDT", "2-0", "mark: missing", {"ts": "2"})
    book.dead_letter("mkt:BTCUSDT", "1-0", "mark: missing", {"ts": "1"})  # another listener's reading of the first
    assert len(redis.xrevrange("s6:deadletter", count=10)) == 2
    letters = [fields for _, fields in reversed(redis.xrevrange("s6:deadletter", count=10))]
    assert letters[0] == {
        "source": "mkt:BTCUSDT",
        "entry_id": "1-0",
        "error": "mark: missing",
        "payload": jsonx.dumps({"ts": "1"}),
    }
    [alert] = told(redis)
    assert (alert["severity"], alert["code"]) == ("WARN", "DEADLETTER")
    assert (book.get(alert["alert_id"]) or {})["repeats"] == 1
    assert 0 < redis.pttl("{s6:alerts}:quiet:WARN:DEADLETTER::mkt:BTCUSDT") <= 60_000
    assert 0 < redis.pttl("{s6:deadletter}:seen:mkt:BTCUSDT:1-0") <= 600_000
    assert metrics.samples.count(("inc", "s6_deadletter_total", 1, {"source": "mkt:BTCUSDT"})) == 2


def test_a_flood_of_dead_letters_is_one_alert_and_each_source_has_its_own(book: AlertLog, redis: TextRedis) -> None:
    for number in range(2_000):
        book.dead_letter("mkt:BTCUSDT", f"{number}-0", "mark: must be a number", {"mark": "NaN"})
    book.dead_letter("mkt:ETHUSDT", "1-0", "mark: must be a number", {"mark": "NaN"})
    assert len(redis.xrevrange("s6:deadletter", count=5_000)) == 2_001
    first, second = told(redis)
    assert [a["detail"].partition(" ")[0] for a in (first, second)] == ["mkt:BTCUSDT", "mkt:ETHUSDT"]
    assert [(book.get(a["alert_id"]) or {})["repeats"] for a in (first, second)] == [1_999, 0]


@pytest.mark.parametrize(
    ("fields", "severity"),
    [
        ({"status": "NEW", "filled_qty": "0"}, "WARN"),
        ({"status": "NEW"}, "WARN"),
        ({"status": "CANCELED", "filled_qty": "0.000"}, "WARN"),
        ({"status": "REJECTED", "filled_qty": "-1"}, "WARN"),
        ({"status": "CANCELED", "filled_qty": "0.4"}, "ERROR"),
        ({"status": "X", "filled_qty": "1e19"}, "ERROR"),
        ({"status": "X", "filled_qty": "0,5 BTC"}, "ERROR"),
        ({"status": "PARTIALLY_FILLED"}, "ERROR"),
        ({"status": "FILLED", "filled_qty": "\udcff"}, "ERROR"),
    ],
)
def test_a_result_with_a_fill_among_the_dead_letters_is_an_error(
    book: AlertLog, redis: TextRedis, fields: dict[str, str], severity: str
) -> None:
    book.dead_letter("ord:result:BTCUSDT", "1-0", "odd", fields)
    book.dead_letter("mkt:BTCUSDT", "1-0", "odd", fields)
    assert [a["severity"] for a in told(redis)] == [severity, "WARN"]


def test_bytes_that_are_no_text_are_kept_with_escapes(book: AlertLog, redis: TextRedis) -> None:
    book.dead_letter("mkt:BTCUSDT", "1-0", "k\udcfe: must be UTF-8 text", {"k\udcfe": "a\udcff", "h": "\ud800"})
    book.dead_letter("cfg:events", "", "odd", "{\udcff}")
    book.raise_alert("WARN", "X", "\udcff and \ud800")
    second, first = (fields for _, fields in redis.xrevrange("s6:deadletter", count=2))
    assert jsonx.loads(first["payload"]) == {"k\\xfe": "a\\xff", "h": "\\ud800"}
    assert (first["error"], second["payload"]) == ("k\\xfe: must be UTF-8 text", "{\\xff}")
    assert told(redis)[-1]["detail"] == "\\xff and \\ud800"


def test_redis_away_delays_alerts_and_raises_nothing(own_redis: EmbeddedRedis, clock: ManualClock) -> None:
    with connect(own_redis.url()) as client:
        book = AlertLog(client, clock, MemoryMetrics())
        own_redis.stop()
        book.raise_alert("FATAL", "X", "while away")
        with pytest.raises(StateUnavailable):
            book.dead_letter("mkt:A", "1-0", "bad", {})
        with pytest.raises(StateUnavailable):
            book.deliver(of_a_commit(1))
        own_redis.start()

        def arrived() -> list[str]:
            book.raise_alert("WARN", "Y", "later")
            try:
                return book.standing_fatal()
            except ConnectionError:
                return []

        assert len(wait_for(arrived)) == 1


# apprise imports all of its services when the first URL is read, one of them a module that Python is about to drop.
def test_on_a_cluster(cluster_url: str, clock: ManualClock, store: Store) -> None:
    with connect(cluster_url) as client:
        book = AlertLog(client, clock, MemoryMetrics(), store, notify_urls=("json://nowhere",))
        book.raise_alert("FATAL", "X", "x", position_id="p-1")
        book.raise_alert("FATAL", "X", "x", position_id="p-1")
        book.dead_letter("mkt:A", "1-0", "bad", {})
        book.resolve("Y", "y")
        [alert_id] = book.standing_fatal()
        assert book.relay() == 3
        acked = book.ack(alert_id, by="ann")
        assert acked is not None
        assert book.relay() == 1
        assert {doc["code"] for doc in book.page(limit=10).items} == {"X", "DEADLETTER", "Y_OVER"}


def failing(store: Store, fail_at: int = 0, on_write: Callable[[], object] | None = None) -> Store:
    """A store whose ``fail_at``-th write of alerts fails (1: every one); ``on_write`` happens after each."""
    return cast(Store, _FailingStore(store, fail_at, on_write))


class _FailingStore:
    def __init__(self, store: Store, fail_at: int, on_write: Callable[[], object] | None) -> None:
        self._store, self._fail_at, self._on_write, self._writes = store, fail_at, on_write, 0

    def write_alerts(self, docs: Sequence[Mapping[str, object]]) -> None:
        self._writes += 1
        if self._writes == self._fail_at or self._fail_at == 1:
            raise StoreUnavailable("away")
        self._store.write_alerts(docs)
        if self._on_write is not None:
            self._on_write()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)
