"""The poller notices an outage, and its end, by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from s6 import keys
from s6.health.poller import Poller
from s6.threads import LoopThread
from tests.support.http_server import HttpServer, Reply
from tests.support.waiting import wait_for
from tests.unit.health.parts import REDUCED, Dependencies


@pytest.fixture
def poll(parts: Dependencies) -> Iterator[Callable[[dict[str, str]], None]]:
    started: list[LoopThread] = []

    def start(neighbours: dict[str, str]) -> None:
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
        started.append(LoopThread("poller", poller.round, poller.close))
        started[-1].start()

    yield start
    for loop in started:
        loop.stop()
        loop.join(10)
        assert not loop.is_alive()


def test_an_outage_and_its_end_are_noticed(parts: Dependencies, poll: Callable[[dict[str, str]], None]) -> None:
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
    parts: Dependencies, poll: Callable[[dict[str, str]], None]
) -> None:
    parts.redis.hset(keys.market("ETHUSDT"), "ts", "1")
    parts.hold("BTCUSDT", parts.clock.now - 6_000)
    poll({})
    wait_for(lambda: "MARKET_STALE" in parts.codes())
    assert ("set", "s6_mode", 1, {"mode": REDUCED}) in parts.metrics.samples
    parts.hold("BTCUSDT", parts.clock.now)
    wait_for(lambda: parts.codes() == ["MARKET_STALE", "MARKET_STALE_OVER"])
    wait_for(lambda: ("set", "s6_mode", 1, {"mode": "NORMAL"}) in parts.metrics.samples)


def test_what_the_health_keys_say_is_told(parts: Dependencies, poll: Callable[[dict[str, str]], None]) -> None:
    poll({})
    parts.says("ws", "DOWN")
    wait_for(lambda: "WS_DOWN" in parts.codes())
    parts.says("ws", "OK")
    wait_for(lambda: "WS_DOWN_OVER" in parts.codes())
