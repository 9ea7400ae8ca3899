"""Beat shows that it lives while it ticks, and Redis being away doesn't end it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from redis.exceptions import RedisError

from s6.ports import StateUnavailable
from tasks import beat
from tasks.app import app
from tasks.beat import BeatScheduler
from tests.support.desk import Desk


@pytest.fixture
def sent(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, str, int]]:
    """The heartbeats."""
    sent: list[tuple[object, str, int]] = []
    monkeypatch.setattr(beat, "send_heartbeat", lambda *told: sent.append(told))
    return sent


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Beat's clock: ``now`` in seconds."""
    time = SimpleNamespace(now=100.0)
    time.monotonic = lambda: time.now
    monkeypatch.setattr(beat, "time", time)
    return time


def test_a_tick_shows_that_beat_lives_every_two_seconds(
    desk: Desk, sent: list[tuple[object, str, int]], time: SimpleNamespace
) -> None:
    scheduler = BeatScheduler(app, schedule={}, lazy=True)
    for now in (100.0, 101.9, 102.0, 103.9, 104.0):
        time.now = now
        scheduler.tick()
    assert sent == [(desk.redis, "beat", desk.clock.now)] * 3


@pytest.mark.parametrize("error", [RedisError("away"), StateUnavailable("away")])
def test_redis_away_stops_no_schedule(
    desk: Desk, time: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def away(*_: object) -> None:
        raise error

    monkeypatch.setattr(beat, "send_heartbeat", away)
    scheduler = BeatScheduler(app, schedule={}, lazy=True)
    assert scheduler.tick() == scheduler.max_interval
