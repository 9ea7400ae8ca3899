"""Marks for a node that is away are owed, and written with the next ones in their order."""

from __future__ import annotations

from typing import Any, cast

import pytest
from redis.exceptions import ResponseError, TimeoutError

from s6.adapters import redis_marks
from s6.adapters.redis_marks import ClusterMarks, Mark
from s6.adapters.redis_nodes import NodeAway

A, B, C = (Mark("sadd", (name, "p1")) for name in ("a", "b", "c"))


class Nodes:
    """A cluster that answers with the errors in ``away`` by key, and notes what it takes."""

    def __init__(self) -> None:
        self.away: dict[str, Exception] = {}
        self.taken: list[str] = []
        self.pipelines = 0

    def pipeline(self, *, transaction: bool) -> Nodes:
        assert not transaction
        self.pipelines += 1
        self._queued: list[str] = []
        return self

    def sadd(self, key: str, _: str) -> None:
        self._queued.append(key)

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        self.taken += [key for key in self._queued if key not in self.away]
        return [self.away.get(key, 1) for key in self._queued]


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def marks(nodes: Nodes) -> ClusterMarks:
    return ClusterMarks(cast(Any, nodes))


def test_all_are_written_at_once(nodes: Nodes, marks: ClusterMarks) -> None:
    marks.write([A, B])
    assert (nodes.taken, nodes.pipelines) == (["a", "b"], 1)
    marks.write()
    assert nodes.pipelines == 1  # nothing is owed


@pytest.mark.parametrize("error", [NodeAway("b hangs"), TimeoutError("b")])
def test_what_a_node_that_is_away_should_have_had_is_written_later(
    nodes: Nodes, marks: ClusterMarks, error: Exception
) -> None:
    nodes.away = {"b": error}
    marks.write([A, B])
    marks.write([B, C])
    assert nodes.taken == ["a", "c"]
    nodes.away = {}
    marks.write([A])
    assert nodes.taken == ["a", "c", "b", "b", "a"]


def test_what_is_owed_has_a_bound(nodes: Nodes, marks: ClusterMarks, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes.away = {"b": NodeAway("b hangs")}
    marks.write([B] * (redis_marks.OWED + 5))
    nodes.away = {}
    marks.write()
    assert len(nodes.taken) == redis_marks.OWED


def test_another_error_is_raised(nodes: Nodes, marks: ClusterMarks) -> None:
    nodes.away = {"b": ResponseError("WRONGTYPE")}
    with pytest.raises(ResponseError):
        marks.write([A, B])
    assert nodes.taken == ["a"]
