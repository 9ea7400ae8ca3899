"""S1 is asked for the ticks that its streams no longer bring, and never in anybody's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest

from s6 import keys
from s6.adapters.http import Neighbour, Onlooker
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.adapters.redis_text import text
from s6.adapters.s1 import S1Market
from s6.listener.index import TriggerIndex
from s6.listener.market_reader import MarketReader
from s6.listener.silent_markets import SilentMarkets
from s6.listener.streams import Entry
from s6.model import jsonx
from s6.model.market import Features
from tests.support.http_server import Asked, HttpServer, Reply
from tests.support.waiting import wait_for
from tests.unit.given import bundle, stopped
from tests.unit.health.parts import Dependencies


class Desk:
    """A listener's market reader, and what asks S1 for it."""

    def __init__(self, parts: Dependencies, s1: HttpServer) -> None:
        self.parts, self.s1 = parts, s1
        self.evaluated: list[str] = []
        hints: Any = SimpleNamespace(evaluate=self.evaluated.append)
        self.state = RedisState(parts.redis, parts.clock)
        index = TriggerIndex()
        index.put(stopped(39_000), bundle(), Features())
        reader = Reader(parts.clock, parts.bundles)
        self.market = MarketReader(
            parts.redis, self.state, index, hints, parts.bundles, parts.alerts, parts.clock, reader
        )
        neighbour = Neighbour("s1", s1.url, Onlooker(parts.breaker), parts.metrics)
        self.silent = SilentMarkets(
            parts.redis, S1Market(neighbour), self.market, parts.gate, parts.bundles, parts.clock
        )

    def stream(self, mark: int, age_ms: int = 0, symbol: str = "BTCUSDT") -> None:
        ts = str(self.parts.clock.now - age_ms)
        self.market.take(symbol, [Entry(f"mkt:{symbol}", "1-1", {"ts": ts, "mark": str(mark)})])

    def s1_says(self, mark: int, **more: Any) -> None:
        told = {"symbol": "BTCUSDT", "ts": self.parts.clock.now, "mark": mark, "bid": mark, "ask": mark}
        body = told | more
        self.s1.respond = lambda asked: Reply(body=jsonx.dumps(body).encode())

    def take(self) -> bool:
        """Take what S1 has answered, as the reader's next round does. Returns whether nothing is asked for any more."""
        asked = bool(self.silent._asking)
        for stream, answer in self.market.answers(["mkt:BTCUSDT", "mkt:ETHUSDT"]).items():
            self.market.take(stream.removeprefix("mkt:"), [answer])
        return not asked

    def mark(self) -> D | None:
        tick = self.state.market("BTCUSDT").tick
        return tick.mark if tick else None

    def pause_of(self, symbol: str = "BTCUSDT") -> int:
        return int(self.parts.redis.pttl(keys.asked(symbol)))


@pytest.fixture
def desk(redis_client: RedisClient) -> Iterator[Desk]:
    parts = Dependencies.on(redis_client)
    with HttpServer(lambda asked: Reply(404)) as s1:
        desk = Desk(parts, s1)
        parts.hold("BTCUSDT", None)
        yield desk
        desk.silent.close()


def test_a_silent_market_is_asked_for_and_its_crossings_are_acted_on(desk: Desk) -> None:
    desk.stream(40_000, age_ms=5_001)
    desk.s1_says(38_900)
    desk.silent.round()
    wait_for(desk.take)
    assert desk.evaluated == ["p1"]
    assert desk.mark() == D(38_900)
    assert [asked.path for asked in desk.s1.asked] == ["/market/BTCUSDT"]
    extremes = desk.state.market("BTCUSDT", "p1").extremes
    assert extremes is not None and extremes.low == D(38_900)


def test_it_is_asked_for_every_interval_while_the_stream_is_silent_whatever_s1_said(desk: Desk) -> None:
    """The bundle's interval is 2 s: the next round asks again, one in between doesn't."""
    desk.s1_says(40_100)
    assert 1.5 < desk.silent.round() <= 2.0
    wait_for(lambda: desk.take() and desk.mark() == D(40_100))
    assert 1_500 < desk.pause_of() <= 1_800
    desk.silent.round()
    assert len(desk.s1.asked) == 1
    desk.parts.redis.delete(keys.asked("BTCUSDT"))
    desk.s1_says(40_200)
    desk.silent.round()
    wait_for(lambda: desk.take() and desk.mark() == D(40_200))
    desk.stream(40_300)
    desk.parts.redis.delete(keys.asked("BTCUSDT"))
    desk.silent.round()
    time.sleep(0.1)
    assert len(desk.s1.asked) == 2
    assert desk.mark() == D(40_300)


def test_the_newest_wins(desk: Desk) -> None:
    desk.stream(40_000, age_ms=6_000)
    desk.s1_says(38_000, ts=desk.parts.clock.now - 7_000)
    desk.silent.round()
    wait_for(desk.take)
    assert len(desk.s1.asked) == 1
    assert desk.mark() == D(40_000)
    assert desk.evaluated == []


def test_where_s1_offers_none_it_is_asked_once_a_minute(desk: Desk) -> None:
    desk.silent.round()
    wait_for(lambda: desk.pause_of() > 59_000)
    desk.silent.round()
    assert len(desk.s1.asked) == 1


@pytest.mark.parametrize(("wanted_s", "waited_s"), [(30, 30), (86_400, 60)])
def test_a_rest_that_s1_wants_is_granted_for_a_minute_at_most(desk: Desk, wanted_s: int, waited_s: int) -> None:
    desk.s1.respond = lambda asked: Reply(429, headers={"Retry-After": str(wanted_s)})
    desk.silent.round()
    wait_for(lambda: (waited_s - 2) * 1000 < desk.pause_of() <= waited_s * 1000)
    desk.silent.round()
    assert len(desk.s1.asked) == 1


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"mark": 0}, "mark"),
        ({"mark": "1e19"}, "mark"),
        ({"ts": 1_700_000_010_000}, "ts"),
        ({"symbol": "ETHUSDT"}, "symbol"),
        ({"bid": [1]}, "bid"),
    ],
)
def test_an_odd_answer_goes_to_the_dead_letters(desk: Desk, odd: dict[str, Any], why: str) -> None:
    desk.s1_says(**{"mark": 40_000, **odd})
    desk.silent.round()
    wait_for(lambda: desk.take() and desk.parts.redis.xlen("s6:deadletter") == 1)
    [(_, letter)] = text(desk.parts.redis).xrevrange("s6:deadletter", count=2)
    assert letter["source"] == "GET /market/BTCUSDT"
    assert letter["error"].startswith(why)
    assert desk.mark() is None


def test_what_hangs_keeps_nobody_waiting_and_s1_counts_as_well(desk: Desk) -> None:
    answering = threading.Event()

    def respond(asked: Asked) -> Reply:
        if asked.path.endswith("BTCUSDT"):
            answering.wait(30)
            return Reply(500)
        return Reply(body=b'{"ts": 1700000000000, "mark": "2000"}')

    desk.s1.respond = respond
    desk.parts.hold("ETHUSDT", None)
    for _ in range(4):
        desk.silent.round()  # does not wait for the answer, which comes after the last round
        desk.stream(40_000, age_ms=9_000)
        desk.parts.redis.delete(keys.asked("BTCUSDT"))
    wait_for(lambda: (desk.take(), desk.state.market("ETHUSDT").tick)[1] is not None)
    answering.set()
    wait_for(desk.take)
    assert [asked.path for asked in desk.s1.asked].count("/market/BTCUSDT") == 1
    assert desk.parts.breaker.state("s1").failures == 0


def test_s1_is_not_asked_while_it_is_down_nor_for_what_is_not_held(desk: Desk) -> None:
    desk.parts.redis.delete(keys.open_positions("BTCUSDT"))
    desk.silent.round()
    desk.parts.hold("BTCUSDT", None)
    for _ in range(3):
        desk.parts.breaker.failed("s1", "down")
    desk.silent.round()
    wait_for(lambda: not desk.silent._asking)
    assert desk.s1.asked == []
