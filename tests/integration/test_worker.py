"""The worker of the Procfile by pytest-celery: it does its work whatever becomes of it and of its broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal

import pytest
from pytest_celery import CeleryTestSetup

from s6.adapters.clock import SystemClock
from s6.adapters.redis_client import connect
from s6.adapters.redis_state import RedisState
from s6.model.commit import Commit
from s6.model.position import Position
from s6.standalone.redis_single import EmbeddedRedis
from s6.store import Store, open_store
from tests.support.procs import S6Processes
from tests.support.waiting import wait_for


@pytest.fixture
def state(own_redis: EmbeddedRedis) -> Iterator[RedisState]:
    with connect(own_redis.url()) as client:
        yield RedisState(client, SystemClock())


@pytest.fixture
def store(s6_processes: S6Processes) -> Iterator[Store]:
    with closing(open_store(s6_processes.env["S6_STORE_URL"])) as opened:
        opened.init()
        yield opened


def _commit(state: RedisState, position_id: str) -> None:
    """A position whose first snapshot waits for its way to the store."""
    position = Position(position_id, "BTCUSDT", "FUT", "LONG", seq=1, qty=Decimal(1))
    snapshot = {"_key": f"{position_id}.1", "position_id": position_id, "seq": 1, "phase": "RESULT"}
    doc = {**snapshot, "symbol": "BTCUSDT", "ts": 1, "status": "OPEN", "qty": Decimal(1)}
    assert state.commit(Commit(position=position, op=None, snapshots=(doc,))) is not None


def _arrives(store: Store, position_id: str) -> None:
    wait_for(lambda: store.snapshots(position_id=position_id).items, 30, f"{position_id}'s snapshot in the store")


def _send(setup: CeleryTestSetup) -> None:
    with setup.app.connection_for_write() as connection:
        setup.app.send_task("tasks.snapshots.relay", queue="snapshots", connection=connection)


def test_the_worker_works_before_and_after_its_death(
    store: Store, state: RedisState, celery_setup: CeleryTestSetup
) -> None:
    assert celery_setup.ready(ping=False, control=True, docker=True)
    _commit(state, "before")
    _send(celery_setup)
    _arrives(store, "before")

    celery_setup.worker.kill()
    _commit(state, "between")
    _send(celery_setup)
    celery_setup.worker.restart()
    _arrives(store, "between")


def test_the_worker_finds_its_broker_again(store: Store, state: RedisState, celery_setup: CeleryTestSetup) -> None:
    celery_setup.broker.restart()
    _commit(state, "after")
    _send(celery_setup)
    _arrives(store, "after")
    assert celery_setup.worker.container.status == "running"


def test_the_worker_stops_cleanly(celery_setup: CeleryTestSetup) -> None:
    assert celery_setup.worker.container.process.stop(within_s=10) == 0
    assert "Traceback" not in celery_setup.worker.logs()
