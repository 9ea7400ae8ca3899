"""The listener's process: it lives while all of its loops are at work, and ends itself when one is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from s6.adapters.redis_client import RedisClient
from s6.health.heartbeat import live_processes
from tests.support.procs import ROOT
from tests.support.waiting import wait_for

#: Runs the listener; its consumer of results does what is given, and hangs soon.
PROGRAM = """
import sys, threading
from unittest.mock import MagicMock
from s6.listener import main as run, results_consumer
main = sys.modules["s6.listener.main"]
main.JOIN_S = 1.0
make = main._loops

def loops(services):
    made = make(services)
    for loop in made:
        loop.longest_s = 0.1 if loop.name == "results" else loop.longest_s
    return made

def broken(self):
    {does}

if {broken}:
    results_consumer.ResultsConsumer.round, main._loops = broken, loops
sys.exit(run(MagicMock()))
"""


@pytest.fixture
def env(redis_url: str, tmp_path: Path) -> dict[str, str]:
    neighbours = {f"S6_{name}_URL": "http://127.0.0.1:9" for name in ("S1", "S4", "S10", "S12")}
    return {
        "PATH": os.environ["PATH"],
        "S6_REDIS_URL": redis_url,
        "S6_STORE_URL": f"sqlite:///{tmp_path}/s6.db",
        "S6_API_TOKENS": "me:ops:secret",
        **neighbours,
    }


@pytest.fixture
def written(redis_client: RedisClient) -> Iterator[Callable[[], set[str]]]:
    """Returns what was done so far to the listeners' signs of life."""
    redis_client.config_set("notify-keyspace-events", "KA")
    heard = cast(Any, redis_client).pubsub(ignore_subscribe_messages=True)
    heard.psubscribe("__keyspace@*__:s6:alive:listener:*")
    done: set[str] = set()

    def read() -> set[str]:
        while heard.connection.can_read(timeout=0.1):
            message = heard.get_message()
            done.update([message["data"]] if message else [])
        return done

    yield read
    heard.close()
    redis_client.config_set("notify-keyspace-events", "")


@contextmanager
def listener(env: dict[str, str], does: str = "") -> Iterator[subprocess.Popen[str]]:
    program = PROGRAM.format(does=does or "pass", broken=bool(does))
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("does", ["raise TypeError('not callable')", "threading.Event().wait()"])
def test_a_reader_that_makes_no_round_ends_the_process_and_never_counts(
    does: str, env: dict[str, str], written: Callable[[], set[str]]
) -> None:
    with listener(env, does) as process:
        output = process.communicate(timeout=30)[0]
    assert process.returncode == 1, output
    assert "loops ended or hang: results;" in output
    assert "set" not in written()


def test_a_listener_at_work_counts_until_it_is_stopped(
    env: dict[str, str], redis_client: RedisClient, written: Callable[[], set[str]]
) -> None:
    with listener(env) as process:
        [beat] = wait_for(lambda: live_processes(redis_client), 20)
        assert (beat.role, beat.pid) == ("listener", process.pid)
        process.terminate()
        output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    assert live_processes(redis_client) == []
    assert {"set", "del"} <= written()
