"""pytest-celery's setup on local processes: a real worker, to be killed and started again, and a broker likewise."""

from __future__ import annotations

import pytest
from pytest_celery import CeleryTestSetup

from s6.adapters.redis_client import connect
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.waiting import wait_for


@pytest.fixture
def celery_worker_command() -> str:
    return "celery -A tests.support.minimal_app worker --pool threads --without-gossip --without-mingle -l INFO"


def _wait_counted(server: EmbeddedRedis, key: str) -> None:
    with connect(server.url()) as client:
        wait_for(lambda: client.get(key) == "1", 30, f"the task that counts {key}")


def test_a_worker_takes_tasks_before_and_after_its_death(
    celery_setup: CeleryTestSetup, own_redis: EmbeddedRedis
) -> None:
    assert celery_setup.ready(ping=False, control=True, docker=True)
    with celery_setup.app.connection_for_write() as connection:
        celery_setup.app.send_task("count", ["before"], connection=connection)
        _wait_counted(own_redis, "before")

        celery_setup.worker.kill()
        assert celery_setup.worker.container.status == "exited"
        celery_setup.app.send_task("count", ["after"], connection=connection)
        celery_setup.worker.restart()
        _wait_counted(own_redis, "after")
        wait_for(lambda: celery_setup.worker.logs().count("count[") == 2, 10, "the task in the log, taken and done")


def test_a_broker_killed_keeps_its_tasks(celery_setup: CeleryTestSetup, own_redis: EmbeddedRedis) -> None:
    celery_setup.worker.kill("SIGTERM")
    with celery_setup.app.connection_for_write() as connection:
        celery_setup.app.send_task("count", ["kept"], connection=connection)
    celery_setup.broker.kill()
    celery_setup.broker.container.server.start()
    celery_setup.worker.restart()
    _wait_counted(own_redis, "kept")


def test_a_worker_that_ends_puts_back_what_it_has_not_begun(
    celery_setup: CeleryTestSetup, own_redis: EmbeddedRedis
) -> None:
    worker = celery_setup.worker
    with celery_setup.app.connection_for_write() as connection:
        celery_setup.app.send_task("count", ["later"], connection=connection, countdown=600)
        wait_for(lambda: "received" in worker.logs(), 20, "the task in the worker's hands")
        worker.kill("SIGTERM")
        with connect(own_redis.url()) as client:
            assert client.get("later") is None
        waiting = wait_for(lambda: connection.SimpleQueue("celery").get_nowait(), 10, "the task back in the queue")
        assert waiting.headers["task"] == "count"
