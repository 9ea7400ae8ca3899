"""A process shows that it lives, and falls silent when it hangs."""

from __future__ import annotations

import os
import socket
import subprocess

import pytest

from s6.adapters.redis_client import RedisClient
from s6.health import heartbeat
from s6.health.heartbeat import Beat, Heartbeat, live_processes, send_heartbeat
from s6.threads import LoopThread
from tests.support.doubles import ManualClock
from tests.support.waiting import wait_for


def test_a_heart_is_heard_and_falls_silent(redis_client: RedisClient) -> None:
    clock = ManualClock()
    heart = Heartbeat(redis_client, "worker", clock)
    loop = LoopThread("heartbeat", heart.round, heart.close)
    loop.start()
    [beat] = wait_for(lambda: live_processes(redis_client))
    assert (beat.role, beat.ts) == ("worker", clock.now)
    assert 0 < redis_client.pttl(f"s6:alive:{beat.member}") <= 10_000
    loop.stop()
    loop.join(5)
    assert live_processes(redis_client) == []


def test_a_dead_process_leaves_the_index(redis_client: RedisClient) -> None:
    redis_client.sadd("s6:alive", "worker:gone-1")
    send_heartbeat(redis_client, "beat", 5)
    assert [beat.role for beat in live_processes(redis_client)] == ["beat"]
    assert len(redis_client.smembers("s6:alive")) == 1


def test_a_process_that_hangs_falls_silent(redis_client: RedisClient) -> None:
    at_work = True
    heart = Heartbeat(redis_client, "listener", ManualClock(), lambda: at_work)
    heart.round()
    [first] = live_processes(redis_client)
    at_work = False
    redis_client.delete(f"s6:alive:{first.member}")
    heart.round()
    assert live_processes(redis_client) == []


def test_one_of_two_with_the_same_host_and_pid_ends(redis_client: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers often share both: each process deletes its own heartbeat only."""
    first, second = (Heartbeat(redis_client, "listener", ManualClock()) for _ in range(2))
    first.round()
    monkeypatch.setattr(heartbeat, "_TOKEN", "another-process")
    second.round()
    one, other = live_processes(redis_client)
    assert (one.host, one.pid) == (other.host, other.pid)
    second.close()
    [left] = live_processes(redis_client)
    assert not left.member.endswith("another-process")


def test_a_process_that_ended_on_this_host_is_known_to_be_dead() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    here = socket.gethostname()
    assert Beat("worker", 5, ended.pid, here, "m").is_dead()
    assert not Beat("worker", 5, ended.pid, f"{here}-another", "m").is_dead()
    assert not Beat("worker", 5, os.getpid(), here, "m").is_dead()
