"""One node of a cluster hangs: what is asked of the others goes on, and what is owed to it is made good."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from s6 import keys
from s6.adapters.redis_client import NODE_TIMEOUT_S, connect
from s6.adapters.redis_cluster import HonestCluster
from s6.adapters.redis_nodes import ANSWER_S, PAUSE_S, NodeAway
from s6.adapters.redis_state import RedisState
from s6.listener.changes import Changes
from s6.ports import PartUnavailable
from tests.support.doubles import ManualClock
from tests.support.redis_cluster import EmbeddedCluster
from tests.support.waiting import wait_for
from tests.unit.given import NOW

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """Nobody takes a master for dead that hangs for a few seconds."""
    with EmbeddedCluster(tmp_path_factory.mktemp("cluster"), {"cluster-node-timeout": "10000"}) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: EmbeddedCluster) -> Iterator[Any]:
    with connect(cluster.url()) as client:
        assert isinstance(client, HonestCluster)
        for key in (keys.LOOKS, keys.LOOKS_LATER):
            client.delete(key)
        yield client


@contextmanager
def hanging(cluster: EmbeddedCluster, client: Any, key: str) -> Iterator[None]:
    """The node of a key hangs, and ``client`` knows it."""
    node = cluster.owner_of_key(key)
    node.freeze()
    try:
        wait_for(lambda: client.hung, 2, "the node that hangs")
        yield
    finally:
        node.thaw()
    wait_for(lambda: not client.hung, 5, "the node that answers again")


def test_a_client_knows_of_a_node_that_hangs_before_a_command_for_it_has_timed_out(
    cluster: EmbeddedCluster, client: Any
) -> None:
    assert PAUSE_S + ANSWER_S < NODE_TIMEOUT_S
    client.exists(keys.OPS)
    with hanging(cluster, client, keys.OPS):  # and no command has waited for it
        began = time.monotonic()
        with pytest.raises(NodeAway):
            client.exists(keys.OPS)
        assert time.monotonic() - began < 0.1


def test_looks_whose_node_hangs_are_taken_and_none_stands_for_those_that_follow(
    cluster: EmbeddedCluster, client: Any
) -> None:
    state = RedisState(client, ManualClock(NOW))
    assert state.note_looks(["p1"], NOW) == ["p1"]
    assert state.note_later_look("p1", NOW) == ["p1"]
    with hanging(cluster, client, keys.LOOKS):
        state.take_look("p1", NOW)
        with pytest.raises(PartUnavailable):
            state.note_looks(["p2"], NOW)
    state.take_look("p2", NOW)
    wait_for(lambda: not client.exists(keys.LOOKS), 5, "what was owed is written")
    assert state.note_looks(["p1"], NOW + 1) == ["p1"]
    assert state.note_later_look("p1", NOW + 1) == ["p1"]


def test_overdue_looks_are_found_on_the_node_that_answers(cluster: EmbeddedCluster, client: Any) -> None:
    state = RedisState(client, ManualClock(NOW))
    state.note_looks(["p1"], NOW, urgent=True)
    state.note_looks(["p2"], NOW)
    state.note_later_look("p3", NOW)
    assert state.overdue_looks(NOW + 1, 9) == [("p2", False), ("p3", False), ("p1", True)]
    with hanging(cluster, client, keys.LOOKS_LATER):
        assert state.overdue_looks(NOW + 1, 9) == [("p2", False), ("p1", True)]
    with hanging(cluster, client, keys.LOOKS):
        assert state.overdue_looks(NOW + 1, 9) == [("p3", False)]


def test_changes_are_heard_of_through_the_others(cluster: EmbeddedCluster, client: Any) -> None:
    changes = Changes(client)
    assert changes.subscribe()
    assert not changes.subscribe()
    with hanging(cluster, client, keys.LOOKS):
        client.publish(keys.CHANGED, "BTCUSDT p1")
        began = time.monotonic()
        wait_for(lambda: "p1" in changes.wait(), 2, "a change")
        assert time.monotonic() - began < 0.5
        assert not changes.subscribe()
    client.publish(keys.CHANGED, "BTCUSDT p2")
    wait_for(lambda: "p2" in changes.wait(), 2, "a change")
    changes.close()


def test_a_script_reaches_a_node_that_lacks_it_while_another_hangs(cluster: EmbeddedCluster, client: Any) -> None:
    script = client.register_script("return redis.call('INCR', KEYS[1]) + 10")
    hangs = client.get_node_from_key(keys.LOOKS)
    key = next(name for name in map(str, range(1_000)) if client.get_node_from_key(name) != hangs)
    with hanging(cluster, client, keys.LOOKS):
        began = time.monotonic()
        assert script(keys=[key]) == 11
        assert time.monotonic() - began < 0.5
    assert script(keys=[keys.LOOKS]) == 11
