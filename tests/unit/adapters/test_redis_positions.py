"""What may happen between the commands of a commit on a cluster, one by one."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.model.commit import Cleared, Commit
from s6.model.documents import event, snapshot
from s6.model.position import Position
from tests.doubles.memory_redis import no_hook
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, stopped


@pytest.fixture
def desk() -> Desk:
    desk = Desk(bundle())
    desk.state._is_cluster = True
    return desk


def with_snapshot(p: Position) -> Commit:
    return Commit(p, None, snapshots=(snapshot(p, "AFTER", "a test", NOW, op=None),))


def test_a_relay_that_looks_just_before_the_write_crosses_nothing_off(desk: Desk) -> None:
    """It finds the mark and nothing behind it, and concludes so after the write: the mark must have changed by then."""
    seen: list[tuple[float, object]] = []

    def looks(name: str, key: str, writes: bool) -> None:
        if name == "script _commit":
            desk.redis.hook = no_hook
            [(_, mark)] = desk.state.outbox_ids(9)
            seen.append((mark, desk.state.outbox_read(["p1"], 9)["p1"].snapshots))

    desk.redis.hook = looks
    assert desk.state.commit(with_snapshot(stopped(39_000))) is not None
    [(mark, found)] = seen
    assert found == []
    desk.state.outbox_clear([Cleared("p1", 0, "", mark)])
    assert [name for name, _ in desk.state.outbox_ids(9)] == ["p1"]
    assert desk.relay.run() == 1


def test_what_tells_nothing_is_not_marked(desk: Desk) -> None:
    desk.write(stopped(39_000))
    assert desk.state.outbox_ids(9) == []


def test_an_index_names_a_position_before_it_is_there(desk: Desk) -> None:
    """A process that dies in between leaves a name without a position, never a position without its name."""
    desk.write(stopped(39_000, position_id="p0"))
    seen: list[Any] = []

    def looks(name: str, key: str, writes: bool) -> None:
        if name == "script _commit":
            desk.redis.hook = no_hook
            seen.append(
                (desk.state.load("p1"), sorted(desk.state.ids_of("BTCUSDT")), desk.state.all_ids(after="p0", limit=9))
            )

    desk.redis.hook = looks
    desk.write(stopped(39_000, qty=D(2)))
    assert seen == [(None, ["p0", "p1"], ["p1"])]


def next_life(closed: Position) -> Commit:
    born = replace(closed, qty=D(1), status="OPEN", life=2)
    return Commit(born, None, events=(event(born, "ENTRY", "o-2", NOW, D(1), None, "ENTRY", {}),))


def test_a_life_that_begins_while_the_former_one_is_settled_stays_listed(desk: Desk) -> None:
    """Who settles it may be held up for all of the next life's birth."""
    closed = desk.put(position(qty=D(0), status="CLOSED"))
    lives: list[Position | None] = []

    def is_born(name: str, key: str, writes: bool) -> None:
        if name == "srem":
            desk.redis.hook = no_hook
            lives.append(desk.state.commit(next_life(closed)))

    desk.redis.hook = is_born
    desk.state.settled(closed)
    assert [p and p.life for p in lives] == [2]
    assert desk.state.ids_of("BTCUSDT") == ["p1"]


def test_a_life_stays_listed_although_the_former_one_is_settled_while_it_begins(desk: Desk) -> None:
    closed = desk.put(position(qty=D(0), status="CLOSED"))
    listed: list[list[str]] = []

    def settles(name: str, key: str, writes: bool) -> None:
        if name == "script _commit":
            desk.redis.hook = no_hook
            desk.state.settled(closed)
            listed.append(desk.state.ids_of("BTCUSDT"))

    desk.redis.hook = settles
    assert desk.state.commit(next_life(closed)) is not None
    assert listed == [[]]
    assert desk.state.ids_of("BTCUSDT") == ["p1"]
