"""Which streams there are, and what is new in them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient, connect
from s6.listener.streams import Entry, Streams, TailReader, entries_of


@pytest.mark.parametrize(
    "answer",
    [
        [["s", [("1-0", {"a": "1"}), ("2-0", None)]]],
        {"s": [("1-0", {"a": "1"}), ("2-0", None)]},
        {"s": [[("1-0", {"a": "1"}), ("2-0", None)]]},
    ],
)
def test_an_answer_is_read_in_either_of_redis_pys_shapes(answer: Any) -> None:
    assert entries_of(answer) == [Entry("s", "1-0", {"a": "1"})]


@pytest.mark.parametrize("answer", [None, [], {}])
def test_no_answer_is_no_entry(answer: Any) -> None:
    assert entries_of(answer) == []


def test_streams_are_those_of_known_symbols_and_those_found(redis_client: RedisClient) -> None:
    redis: Any = redis_client
    redis.sadd(keys.SYMBOLS, "HELDUSDT")
    redis.xadd("mkt:FOUNDUSDT", {"a": "1"})
    redis.set("mkt:NOSTREAM", "1")
    streams = Streams(redis_client, "mkt:")
    assert streams.names(["NAMEDUSDT"]) == ["mkt:FOUNDUSDT", "mkt:HELDUSDT", "mkt:NAMEDUSDT"]
    redis.xadd("mkt:LATEUSDT", {"a": "1"})
    assert "mkt:LATEUSDT" not in streams.names([])  # a scan is not for every round
    streams._scanned_at = 0.0
    assert "mkt:LATEUSDT" in streams.names([])


def marks(entries: list[Entry]) -> list[str]:
    return [entry.fields["n"] for entry in entries]


@pytest.fixture(params=["single", "cluster"])
def redis(request: pytest.FixtureRequest) -> Any:
    with connect(request.getfixturevalue(f"{'redis' if request.param == 'single' else 'cluster'}_url")) as client:
        yield client


def test_the_newest_first_and_then_what_follows(redis: Any) -> None:
    now = int(time.time() * 1000)
    for number in range(3):
        redis.xadd("s:a", {"n": str(number)}, id=f"{now - 60_000 + 3_000 * number}-0")
    reader = TailReader(redis, 1)
    assert marks(reader.read(["s:a"])) == ["2"]
    redis.xadd("s:a", {"n": "3"}, id=f"{now}-0")
    redis.xadd("s:b", {"n": "b"})
    assert marks(reader.read(["s:a"])) == ["3"]
    assert marks(reader.read(["s:a"])) == []
    assert marks(reader.read(["s:a", "s:b"])) == ["b"]
    reader.forget(["s:a"])
    assert marks(reader.read(["s:a"])) == ["3"]


def test_what_a_new_stream_began_with_is_read(redis: Any) -> None:
    """It is found a moment after its first entries."""
    now = int(time.time() * 1000)
    for age_ms in (2_001, 2_000, 500, 0):
        redis.xadd("s:a", {"n": str(age_ms)}, id=f"{now - age_ms}-0")
    assert marks(TailReader(redis, 1).read(["s:a"])) == ["2000", "500", "0"]
    assert marks(TailReader(redis, 9).read(["s:a"])) == ["2001", "2000", "500", "0"]


def test_an_empty_stream_is_read_from_its_beginning(redis: Any) -> None:
    reader = TailReader(redis, 1)
    assert reader.read(["s:a"]) == []
    redis.xadd("s:a", {"n": "1"})
    assert marks(reader.read(["s:a"])) == ["1"]


def test_without_streams_it_rests(redis_client: RedisClient) -> None:
    began = time.monotonic()
    assert TailReader(redis_client, 1).read([]) == []
    assert 0 < time.monotonic() - began < 2
