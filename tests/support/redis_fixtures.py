"""Redis for tests: real servers, one set per test process, each test with databases of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from s6.adapters.redis_client import RedisClient, connect
from s6.standalone.redis_single import DATABASES, EmbeddedRedis
from tests.support.redis_cluster import EmbeddedCluster
from tests.support.redis_sentinel import EmbeddedSentinel

_numbers = itertools.cycle(range(1, DATABASES))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One Redis server per test process; ``own_redis`` is for what is done to the server itself."""
    with EmbeddedRedis(_folder(tmp_path_factory, "redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """An empty database of the shared server."""
    return _empty_database(redis_server)


@pytest.fixture
def broker_url(redis_server: EmbeddedRedis) -> str:
    """An empty database of the shared server, another than ``redis_url``'s."""
    return _empty_database(redis_server)


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[RedisClient]:
    """S6's own kind of client on ``redis_url``."""
    with connect(redis_url) as client:
        yield client


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server for one test alone: to be killed, frozen or reconfigured."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(_folder(tmp_path_factory, "cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster_url(redis_cluster: EmbeddedCluster) -> str:
    """The shared cluster, emptied."""
    for node in redis_cluster.nodes:
        with node.client() as client:
            client.flushall()
    return redis_cluster.url()


@pytest.fixture(scope="session")
def redis_sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedSentinel]:
    """A shared master, replica and three Sentinels, not to be failed over; make your own for that."""
    with EmbeddedSentinel(_folder(tmp_path_factory, "sentinel")) as sentinel:
        yield sentinel


@pytest.fixture
def sentinel_url(redis_sentinel: EmbeddedSentinel) -> str:
    """The shared Sentinels, the data emptied."""
    with redis_sentinel.master().client() as client:
        client.flushall()
    return redis_sentinel.url()


def _folder(factory: pytest.TempPathFactory, name: str) -> Path:
    return factory.mktemp(name, numbered=True)


def _empty_database(server: EmbeddedRedis) -> str:
    number = next(_numbers)
    with server.client(db=number) as client:
        client.flushdb()
    return server.url(number)
