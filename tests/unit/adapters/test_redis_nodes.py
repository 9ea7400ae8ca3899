"""A node that hangs is waited for once: others fail at once, until a probe finds it well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError

from s6.adapters import redis_nodes
from s6.adapters.redis_nodes import HungNodes, NodeAway
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.waiting import wait_for


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "node") as server:
        yield server


@pytest.fixture
def refreshed() -> list[str]:
    return []


@pytest.fixture
def hung(refreshed: list[str], monkeypatch: pytest.MonkeyPatch) -> HungNodes:
    monkeypatch.setattr(redis_nodes, "PAUSE_S", 0.05)
    return HungNodes(refreshed.append)


@pytest.fixture
def node(server: EmbeddedRedis) -> ClusterNode:
    return ClusterNode("127.0.0.1", server.port, redis_connection=server.client())


def test_who_is_not_noted_is_asked(hung: HungNodes, node: ClusterNode, refreshed: list[str]) -> None:
    hung.check(node)
    assert not hung
    assert not hung.hangs(node)
    assert refreshed == []


def test_a_noted_node_fails_at_once_and_is_asked_when_it_answers_a_probe(
    hung: HungNodes, node: ClusterNode, server: EmbeddedRedis, refreshed: list[str]
) -> None:
    server.freeze()
    hung.note(node.name)
    with pytest.raises(NodeAway, match="hangs"):
        hung.check(node)
    wait_for(lambda: hung.hangs(node) and refreshed, 5, "a probe that fails, and a look at the cluster")
    assert set(refreshed) == {node.name}
    server.thaw()
    wait_for(lambda: not hung.hangs(node), 5, "a probe that succeeds")
    assert not hung


def test_those_that_hang_are_found_among_many(hung: HungNodes, node: ClusterNode, server: EmbeddedRedis) -> None:
    new = ClusterNode("127.0.0.1", 1)  # nobody has asked it yet
    assert not hung.find([new, node])
    server.freeze()
    assert hung.find([new, node])
    assert hung.hangs(node)
    assert not hung.hangs(new)
    server.thaw()


def test_a_cluster_that_cannot_be_looked_at_is_no_fault_of_who_asks(node: ClusterNode, server: EmbeddedRedis) -> None:
    def refresh(_: str) -> None:
        raise ConnectionError("no node answers")

    hung = HungNodes(refresh)
    server.kill()
    assert hung.find([node])
    assert hung.hangs(node)
