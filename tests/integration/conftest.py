"""pytest-celery without Docker: its clusters made of local processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_celery import CeleryBrokerCluster, CeleryTestBroker, CeleryWorkerCluster

from s6.standalone.redis_single import EmbeddedRedis
from tests.support.celery_nodes import WORKER_NAME, LocalWorker, RedisContainer, WorkerContainer
from tests.support.procs import S6Processes, procfile


@pytest.fixture
def celery_broker_cluster(own_redis: EmbeddedRedis) -> Iterator[CeleryBrokerCluster]:
    """The broker: database 1 of a Redis of the test's own (database 0 being S6's state)."""
    cluster = CeleryBrokerCluster(CeleryTestBroker(RedisContainer(own_redis)))
    yield cluster
    cluster.teardown()


@pytest.fixture
def celery_backend_cluster() -> None:
    """None: S6's tasks leave no results behind; what they did stands in the state."""


@pytest.fixture
def celery_worker_command() -> str:
    """The worker's line in the Procfile; override it to start another one."""
    return procfile()["worker"]


@pytest.fixture
def celery_worker_cluster(
    celery_broker_cluster: CeleryBrokerCluster, s6_processes: S6Processes, celery_worker_command: str
) -> Iterator[CeleryWorkerCluster]:
    """One worker. Start neighbours (``s6_processes.start_paper``) in a fixture it depends on, if it shall have any."""
    nowhere = {f"S6_{name}_URL": "http://127.0.0.1:9" for name in ("S1", "S4", "S10", "S12")}
    env = {**nowhere, **s6_processes.env}
    container = WorkerContainer(
        lambda: s6_processes.run("worker", f"{celery_worker_command} -n {WORKER_NAME}", env=env)
    )
    container.ready()
    yield CeleryWorkerCluster(LocalWorker(container))
    container.teardown()
