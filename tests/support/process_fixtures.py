"""A running S6 for tests: real processes on a Redis of their own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest

from s6.standalone.redis_single import EmbeddedRedis
from tests.support.procs import S6Processes

_FAILED: Final = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, object, None]:
    """Let fixtures know that their test has failed."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
    item.stash[_FAILED] = item.stash.get(_FAILED, False) or report.failed


@pytest.fixture
def s6_processes(tmp_path: Path, own_redis: EmbeddedRedis, request: pytest.FixtureRequest) -> Iterator[S6Processes]:
    """Nothing started yet, on ``own_redis``; a failing test shows the ends of all logs.

    A token for each scope: ``read-token``, ``ops-token``, ``treasury-token``.
    """
    env = {
        "S6_REDIS_URL": own_redis.url(0),
        "S6_BROKER_URL": own_redis.url(1),
        "S6_API_TOKENS": "reader:read:read-token,operator:ops:ops-token,treasurer:treasury:treasury-token",
        "S6_MANAGE_TICK_S": "2",
    }
    processes = S6Processes(tmp_path / "s6", env)
    yield processes
    processes.end()
    if request.node.stash.get(_FAILED, False):
        print(processes.tails())
