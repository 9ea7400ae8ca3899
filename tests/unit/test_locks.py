"""Locks: held by one at a time, released whatever happens, an overrun told as what it is."""

from __future__ import annotations

import pytest

from s6 import keys
from s6.adapters.redis_state import RedisState
from s6.locks import held, held_position, held_softly
from s6.ports import LockBusy, StateUnavailable
from tests.support.desk import Desk
from tests.unit.given import bundle, position

LOCK = keys.Lock("lock:x", 1_000)


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def test_a_position_is_read_with_its_lock_and_released(desk: Desk) -> None:
    put = desk.put(position())
    with held_position(desk.state, desk.alerts, desk.clock, "p1") as mine:
        assert mine.loaded is not None
        assert mine.loaded.position == put
        assert desk.redis.do_get(keys.position_lock("p1").key) == mine.token
        with pytest.raises(LockBusy), held_position(desk.state, desk.alerts, desk.clock, "p1"):
            pytest.fail("two hold one lock")
    assert desk.redis.do_get(keys.position_lock("p1").key) is None
    assert desk.alerts.raised == []


def test_a_lock_is_released_when_its_holder_fails(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError), held_position(desk.state, desk.alerts, desk.clock, "p1"):
        raise ZeroDivisionError
    assert desk.redis.do_get(keys.position_lock("p1").key) is None


def test_an_overrun_is_fatal_and_the_next_holder_keeps_its_lock(desk: Desk) -> None:
    with held_position(desk.state, desk.alerts, desk.clock, "p1"):
        desk.clock.now += keys.position_lock("p1").ttl_ms
        token, _ = desk.state.lock_and_load("p1", 4_000)
    text = "lock:pos:{p1} was held for 4000 ms and expired after 4000 ms"
    assert desk.alerts.raised == [("FATAL", "LOCK_OVERRUN", text, "p1")]
    assert desk.redis.do_get(keys.position_lock("p1").key) == token


def test_a_clock_that_is_set_back_hides_no_overrun(desk: Desk) -> None:
    with held_position(desk.state, desk.alerts, desk.clock, "p1"):
        desk.clock.now += keys.position_lock("p1").ttl_ms
        desk.state.lock_and_load("p1", 4_000)
        desk.clock.set_back(3_600_000)
    text = "lock:pos:{p1} was held for 4000 ms and expired after 4000 ms"
    assert desk.alerts.raised == [("FATAL", "LOCK_OVERRUN", text, "p1")]


@pytest.mark.parametrize("set_by_ms", [-3_600_000, 3_600_000])
def test_a_lock_that_redis_lost_is_no_overrun_whatever_becomes_of_the_clock(desk: Desk, set_by_ms: int) -> None:
    with held_position(desk.state, desk.alerts, desk.clock, "p1"):
        desk.redis.flushall()
        desk.clock.set_back(-set_by_ms)
    assert desk.alerts.raised == []


def test_just_within_its_time_is_no_overrun(desk: Desk) -> None:
    with held_position(desk.state, desk.alerts, desk.clock, "p1"):
        desk.clock.now += keys.position_lock("p1").ttl_ms - 1
    assert desk.alerts.raised == []


def test_a_lock_that_redis_lost_is_no_overrun(desk: Desk) -> None:
    with held(desk.state, LOCK, desk.alerts, desk.clock):
        desk.redis.flushall()
    assert desk.alerts.raised == []


def test_any_lock_overruns_by_its_own_time(desk: Desk) -> None:
    with held(desk.state, LOCK, desk.alerts, desk.clock) as token:
        assert desk.redis.do_get(LOCK.key) == token
        desk.clock.now += LOCK.ttl_ms
    text = "lock:x was held for 1000 ms and expired after 1000 ms"
    assert desk.alerts.raised == [("FATAL", "LOCK_OVERRUN", text, "")]


def test_a_soft_lock_may_expire_under_its_holder(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    soft = keys.SoftLock("lock:y", 1_000)
    with held_softly(desk.state, soft, desk.clock) as token:
        with pytest.raises(LockBusy), held_softly(desk.state, soft, desk.clock):
            pytest.fail("two hold one lock")
        assert desk.redis.do_get(soft.key) == token
        desk.clock.now += soft.ttl_ms
        with held_softly(desk.state, soft, desk.clock):
            pass
    assert "lock:y was held for 1000 ms and expired after 1000 ms" in caplog.text
    with held_softly(desk.state, soft, desk.clock):
        pass
    assert desk.redis.do_get(soft.key) is None


def test_what_was_done_stands_when_redis_is_away_at_the_release(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: RedisState, key: str, token: str) -> bool:
        raise StateUnavailable("away")

    monkeypatch.setattr(RedisState, "unlock", away)
    with held(desk.state, LOCK, desk.alerts, desk.clock):
        desk.clock.now += LOCK.ttl_ms
    assert desk.alerts.raised == []
