"""One running S6 for each test process; a failing test shows the ends of all logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.e2e.agreement", "tests.e2e.running")

from tests.e2e.running import UNSWEPT, Running, started  # noqa: E402


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Web, worker, beat and listener between paper neighbours whose market is moved by hand."""
    folder: Path = tmp_path_factory.mktemp("s6")
    with started(folder, sweep_s="2") as running:
        yield running


@pytest.fixture(scope="session")
def running_unswept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same without a sweep, and without the watch over what stands still."""
    with started(tmp_path_factory.mktemp("unswept"), sweep_s="86400", cuts=UNSWEPT) as running:
        yield running


@pytest.fixture
def s6(running: Running, request: pytest.FixtureRequest) -> Iterator[Running]:
    """The running S6 with no fault and no FATAL alert standing."""
    yield from left_well(running, request)


@pytest.fixture
def unswept(running_unswept: Running, request: pytest.FixtureRequest) -> Iterator[Running]:
    """The same of the S6 that never sweeps: whatever it does was asked for."""
    yield from left_well(running_unswept, request)


def left_well(running: Running, request: pytest.FixtureRequest) -> Iterator[Running]:
    failed = request.session.testsfailed
    yield running
    if request.session.testsfailed > failed:
        print(running.s6.tails())
    running.paper.clear_faults()
    running.paper.health("ws", "OK")
    running.acknowledge_all()
