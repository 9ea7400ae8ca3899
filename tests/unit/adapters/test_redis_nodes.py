"""A node that hangs is found without a command that waits for it; commands for it fail at once until it answers."""

from __future__ import annotations

import threading
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
def servers(tmp_path: Path) -> Iterator[list[EmbeddedRedis]]:
    with EmbeddedRedis(tmp_path / "a") as a, EmbeddedRedis(tmp_path / "b") as b:
        yield [a, b]


@pytest.fixture
def nodes(servers: list[EmbeddedRedis]) -> list[ClusterNode]:
    return [ClusterNode("127.0.0.1", each.port, redis_connection=each.client()) for each in servers]


@pytest.fixture
def refreshed() -> list[str]:
    return []


@pytest.fixture
def hung(nodes: list[ClusterNode], refreshed: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[HungNodes]:
    monkeypatch.setattr(redis_nodes, "PAUSE_S", 0.05)
    monkeypatch.setattr(redis_nodes, "REFRESH_S", 0.1)
    hung = HungNodes(lambda: list(nodes), lambda: refreshed.append("looked"))
    yield hung
    hung.close()


def test_nodes_that_answer_are_asked(hung: HungNodes, nodes: list[ClusterNode], refreshed: list[str]) -> None:
    for node in nodes:
        hung.check(node)
    assert not hung
    assert refreshed == []


def test_a_node_that_hangs_is_found_among_others_and_asked_when_it_answers_again(
    hung: HungNodes, nodes: list[ClusterNode], servers: list[EmbeddedRedis], refreshed: list[str]
) -> None:
    hung.check(nodes[0])  # which begins the asking
    servers[0].freeze()
    wait_for(lambda: hung, 2, "the node that hangs")
    assert hung.names() == {nodes[0].name}
    with pytest.raises(NodeAway, match=f"{nodes[0].name} hangs"):
        hung.check(nodes[0])
    hung.check(nodes[1])
    wait_for(lambda: len(refreshed) >= 2, 5, "looks at who has its slots")
    servers[0].thaw()
    wait_for(lambda: not hung, 5, "its answer")
    hung.check(nodes[0])


def test_a_node_that_is_dead_is_away_until_it_is_back(
    hung: HungNodes, nodes: list[ClusterNode], servers: list[EmbeddedRedis]
) -> None:
    hung.check(nodes[1])
    servers[1].kill()
    wait_for(lambda: hung.names() == {nodes[1].name}, 5, "the dead node")
    servers[1].start()
    wait_for(lambda: not hung, 5, "the node that is back")


def test_a_node_that_is_no_master_any_more_is_not_asked(
    hung: HungNodes, nodes: list[ClusterNode], servers: list[EmbeddedRedis]
) -> None:
    hung.check(nodes[0])
    servers[0].freeze()
    wait_for(lambda: hung, 2, "the node that hangs")
    del nodes[0]
    wait_for(lambda: not hung, 2, "the others, which all answer")
    servers[0].thaw()


def test_a_cluster_that_cannot_be_looked_at_ends_nothing(
    nodes: list[ClusterNode], servers: list[EmbeddedRedis]
) -> None:
    looks = []

    def refresh() -> None:
        looks.append(1)
        raise ConnectionError("no node answers")

    hung = HungNodes(lambda: nodes, refresh)
    hung.check(nodes[0])
    servers[0].kill()
    wait_for(lambda: looks, 5, "a look at the cluster")
    servers[0].start()
    wait_for(lambda: not hung, 5, "the node that is back")
    hung.close()


def test_a_client_that_is_not_used_asks_no_more_until_the_next_command(
    hung: HungNodes, nodes: list[ClusterNode], servers: list[EmbeddedRedis], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_nodes, "IDLE_S", 0.2)
    hung.check(nodes[0])
    wait_for(lambda: not _asking(), 5, "the end of the asking")
    monkeypatch.setattr(redis_nodes, "IDLE_S", 30.0)
    servers[0].freeze()
    hung.check(nodes[0])
    wait_for(lambda: hung, 2, "the node that hangs")
    servers[0].thaw()


def _asking() -> bool:
    return any(thread.name == "redis-nodes" for thread in threading.enumerate())
