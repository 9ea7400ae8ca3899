"""Beat shows that it lives while it ticks, and Redis being away doesn't end it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from celery import Celery
from redis.exceptions import RedisError

from s6.adapters import clock
from s6.ports import StateUnavailable
from tasks import beat
from tasks.app import app
from tasks.beat import BeatScheduler
from tests.support.desk import Desk
from tests.unit.tasks.broker import Broker


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


def test_a_queue_that_nobody_works_off_holds_two_tasks(desk: Desk, broker: Broker) -> None:
    scheduler = BeatScheduler(app, lazy=True)
    scheduler.setup_schedule()
    entries = {entry.task: entry for entry in scheduler.schedule.values()}
    for _ in range(5):
        for entry in entries.values():
            scheduler.apply_entry(entry, producer=scheduler.producer)
    taken = broker.taken()
    assert {sent.queue for sent in taken} == {"sweep", "treasury", "snapshots", "upkeep"}
    assert {queue: sum(sent.queue == queue for sent in taken) for queue in ("sweep", "treasury", "upkeep")} == {
        "sweep": 2,
        "treasury": 2,
        "upkeep": 2,
    }
    assert not any(sent.expires or sent.delayed for sent in taken)
    scheduler.apply_entry(entries["tasks.evaluation.sweep"], producer=scheduler.producer)
    assert [sent.name for sent in broker.taken()] == ["tasks.evaluation.sweep"]


def test_a_clock_set_back_an_hour_holds_up_no_sweep(
    desk: Desk, broker: Broker, monkeypatch: pytest.MonkeyPatch, time: SimpleNamespace
) -> None:
    passed = SimpleNamespace(now=0.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: clock._STARTED_S + passed.now))
    scheduler = BeatScheduler(app, lazy=True)
    scheduler.setup_schedule()
    sweeps = []
    for second in range(60):
        passed.now = float(second)
        if second == 20:
            monkeypatch.setattr(Celery, "now", lambda self: datetime.now(UTC) - timedelta(hours=1))
        while scheduler.tick() == 0:
            pass
        sweeps += [second for sent in broker.taken() if sent.name == "tasks.evaluation.sweep"]
    period = app.conf["settings"].manage_tick_s
    assert len(sweeps) >= 59 // period - 1
    assert all(later - earlier <= period + 1 for earlier, later in pairwise(sweeps))
