"""The worker's sign of life comes from its loop; when the loop hangs, the process ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import RedisError

from s6.ports import StateUnavailable
from tasks import watchdog
from tasks.app import app
from tasks.watchdog import LoopWatchdog
from tests.support.desk import Desk


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The watchdog's clock: ``now`` in seconds."""
    time = SimpleNamespace(now=1_000.0)
    time.monotonic = lambda: time.now
    monkeypatch.setattr(watchdog, "time", time)
    return time


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the process would have ended."""
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    return codes


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The heartbeats."""
    beats: list[tuple[object, ...]] = []
    monkeypatch.setattr(watchdog, "send_heartbeat", lambda *told: beats.append(told))
    return beats


class Timer:
    """The worker's own timer; ``tick`` is a round of its loop."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], object]]] = []
        self.timer = self

    def call_repeatedly(self, every_s: float, call: Callable[[], object]) -> None:
        self.calls.append((every_s, call))

    def tick(self) -> None:
        for _, call in self.calls:
            call()


def test_the_loop_beats_every_two_seconds(desk: Desk, sent: list[Any], time: SimpleNamespace) -> None:
    worker: Any = Timer()
    dog = LoopWatchdog(worker)
    dog.start(worker)
    worker.tick()
    dog.stop(worker)
    assert [every for every, _ in worker.calls] == [2.0]
    assert sent == [(desk.redis, "worker", desk.clock.now)] * 2


def test_a_loop_that_hangs_ends_the_process(
    desk: Desk, sent: list[Any], time: SimpleNamespace, ended: list[int]
) -> None:
    dog = LoopWatchdog(None)
    time.now += watchdog.HANGS_S
    assert dog._watch() == 2.0
    assert ended == []
    time.now += 0.1
    dog._watch()
    assert ended == [70]


def test_a_loop_that_comes_round_is_let_be(
    desk: Desk, sent: list[Any], time: SimpleNamespace, ended: list[int]
) -> None:
    dog = LoopWatchdog(None)
    for _ in range(5):
        time.now += watchdog.HANGS_S
        dog._watch()
        dog._beat()
    assert ended == []


def test_without_its_watcher_it_gives_no_sign(desk: Desk, sent: list[Any]) -> None:
    LoopWatchdog(None)._beat()
    assert sent == []


@pytest.mark.parametrize("error", [RedisError("away"), StateUnavailable("away")])
def test_redis_away_ends_no_loop(desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def away(*_: object) -> None:
        raise error

    monkeypatch.setattr(watchdog, "send_heartbeat", away)
    worker: Any = Timer()
    dog = LoopWatchdog(worker)
    dog.start(worker)
    worker.tick()
    assert dog._thread.is_alive()
    dog.terminate(worker)
    dog._thread.join(5)
    assert not dog._thread.is_alive()


def test_every_worker_has_one() -> None:
    assert LoopWatchdog in app.steps["worker"]
