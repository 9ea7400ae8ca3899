"""A process shows that it lives, and falls silent when it hangs."""

from __future__ import annotations

import threading

from s6.adapters.redis_client import RedisClient
from s6.health.heartbeat import Heartbeat, live_processes, send_heartbeat
from tests.support.doubles import ManualClock
from tests.support.waiting import wait_for


def test_a_heart_is_heard_and_falls_silent(redis_client: RedisClient) -> None:
    clock = ManualClock()
    heart = Heartbeat(redis_client, "worker", clock)
    heart.start()
    [beat] = wait_for(lambda: live_processes(redis_client))
    assert (beat.role, beat.ts) == ("worker", clock.now)
    assert 0 < redis_client.pttl(f"s6:alive:worker:{beat.host}-{beat.pid}") <= 10_000
    heart.stop()
    heart.join(5)
    assert live_processes(redis_client) == []


def test_a_dead_process_leaves_the_index(redis_client: RedisClient) -> None:
    redis_client.sadd("s6:alive", "worker:gone-1")
    send_heartbeat(redis_client, "beat", 5)
    assert [beat.role for beat in live_processes(redis_client)] == ["beat"]
    assert len(redis_client.smembers("s6:alive")) == 1


def test_a_process_that_hangs_falls_silent(redis_client: RedisClient) -> None:
    asked = threading.Event()

    def hangs() -> bool:
        asked.set()
        return False

    heart = Heartbeat(redis_client, "listener", ManualClock(), hangs)
    heart.start()
    assert asked.wait(5)
    assert live_processes(redis_client) == []
    heart.stop()
    heart.join(5)
