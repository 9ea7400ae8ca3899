"""One running S6 for each test process; a failing test shows the ends of all logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.e2e.agreement", "tests.e2e.running")

from s6.standalone.redis_single import EmbeddedRedis  # noqa: E402
from tests.e2e.running import Running  # noqa: E402
from tests.support.procs import S6Processes  # noqa: E402

_TOKENS = "reader:read:read-token,operator:ops:ops-token,treasurer:treasury:treasury-token"


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Web, worker, beat and listener between paper neighbours whose market is moved by hand."""
    folder: Path = tmp_path_factory.mktemp("s6")
    with EmbeddedRedis(folder / "redis") as redis:
        env = {
            "S6_REDIS_URL": redis.url(0),
            "S6_BROKER_URL": redis.url(1),
            "S6_API_TOKENS": _TOKENS,
            "S6_MANAGE_TICK_S": "2",
            "S6_TREASURY_TICK_S": "86400",
        }
        with S6Processes(folder / "s6", env) as processes:
            paper = processes.start_paper("--no-wallet-follows-trades")
            processes.start("web", "worker", "beat", "listener")
            processes.healthy(90)
            yield Running(processes, paper)


@pytest.fixture
def s6(running: Running, request: pytest.FixtureRequest) -> Iterator[Running]:
    """The running S6 with no fault and no FATAL alert standing."""
    failed = request.session.testsfailed
    yield running
    if request.session.testsfailed > failed:
        print(running.s6.tails())
    running.paper.clear_faults()
    running.paper.health("ws", "OK")
    running.acknowledge_all()
