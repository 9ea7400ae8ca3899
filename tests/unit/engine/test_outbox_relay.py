"""Snapshots on their way to the store: in order, nothing lost, nothing held up for good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_state import RedisState
from s6.engine.outbox_relay import EACH, OutboxRelay
from s6.model import jsonx
from s6.model.commit import Cleared, Commit, Doc
from s6.model.documents import event, snapshot
from s6.model.position import Position
from s6.store import Store, StoreError, StoreUnavailable, open_store
from tests.support.doubles import ManualClock, MemoryAlerts

CLOCK = ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/s6.db")
    store.init()
    yield store
    store.close()


@pytest.fixture
def alerts() -> MemoryAlerts:
    return MemoryAlerts()


@pytest.fixture
def state(redis_client: RedisClient) -> RedisState:
    return RedisState(redis_client, ManualClock())


class Broken:
    """A store that fails in a way that repetition does not help."""

    def __init__(self, error: StoreError) -> None:
        self._error = error

    def write_snapshots(self, docs: Sequence[Mapping[str, object]]) -> None:
        raise self._error


def wrote(state: RedisState, name: str, number: int, **members: object) -> None:
    """So many snapshots of a position, one commit each, ``members`` laid over the last one."""
    for seq in range(1, number + 1):
        position = Position(name, "BTCUSDT", "FUT", "LONG", rev=seq - 1, seq=seq)
        doc: Doc = snapshot(position, "RESULT", "a test", seq, op=None)
        if seq == number:
            doc = {**doc, **members}
        assert state.commit(Commit(position, None, snapshots=(doc,))) is not None


def stored(store: Store, name: str) -> list[object]:
    return [doc["seq"] for doc in store.snapshots(position_id=name, limit=500).items]


def test_everything_arrives_in_order_and_the_list_is_empty(
    state: RedisState, store: Store, alerts: MemoryAlerts
) -> None:
    wrote(state, "p-long", EACH * 2 + 3)
    for number in range(20):
        wrote(state, f"p-{number}", 2)
    relay = OutboxRelay(state, store, alerts, CLOCK)
    assert relay.run() == EACH * 2 + 3 + 40
    assert stored(store, "p-long") == list(range(1, EACH * 2 + 4))
    assert all(stored(store, f"p-{number}") == [1, 2] for number in range(20))
    assert (state.outbox_ids(10), state.outbox_size()) == ([], 0)
    assert relay.run() == 0
    assert alerts.raised == []


def test_on_a_cluster(cluster_url: str, store: Store, alerts: MemoryAlerts) -> None:
    with connect(cluster_url) as redis:
        state = RedisState(redis, ManualClock())
        for number in range(8):
            wrote(state, f"p-{number}", 3)
        assert OutboxRelay(state, store, alerts, CLOCK).run() == 24
        assert state.outbox_ids(10) == []


def test_a_document_the_store_refuses_holds_up_nothing(state: RedisState, store: Store, alerts: MemoryAlerts) -> None:
    wrote(state, "p-1", 2)
    wrote(state, "p-bad", 3, ts="yesterday")
    wrote(state, "p-2", 2)
    assert OutboxRelay(state, store, alerts, CLOCK).run() == 7
    assert [stored(store, name) for name in ("p-1", "p-bad", "p-2")] == [[1, 2], [1, 2], [1, 2]]
    [(source, key, error, letter)] = alerts.letters
    assert (source, key) == ("snapshots", "p-bad:00000003")
    assert "ts" in error
    assert isinstance(letter, dict)
    assert jsonx.loads(letter["document"])["ts"] == "yesterday"
    assert state.outbox_size() == 0


def test_only_what_contradicts_the_store_is_put_aside(state: RedisState, store: Store, alerts: MemoryAlerts) -> None:
    wrote(state, "p-1", 3)
    OutboxRelay(state, store, alerts, CLOCK).run()
    state.outbox_clear([])
    other = Position("p-2", "BTCUSDT", "FUT", "LONG", seq=1)
    store.write_snapshots([snapshot(other, "BEFORE", "somebody else's", 9, op=None)])
    wrote(state, "p-2", 3)
    wrote(state, "p-3", 2)
    forked: list[tuple[str, int]] = []
    assert OutboxRelay(state, store, alerts, CLOCK, lambda *fork: forked.append(fork)).run() == 5
    assert forked == [("p-2", 0)]
    assert [key for _, key, _, _ in alerts.letters] == ["p-2:00000001"]
    assert (stored(store, "p-2"), stored(store, "p-3")) == ([1, 2, 3], [1, 2])
    assert store.snapshots(position_id="p-2").items[0]["phase"] == "BEFORE"


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StoreError("no such collection")])
def test_whatever_else_fails_is_the_stores_trouble(
    state: RedisState, store: Store, alerts: MemoryAlerts, error: StoreError
) -> None:
    wrote(state, "p-1", 2)
    relay = OutboxRelay(state, Broken(error), alerts, CLOCK)  # type: ignore[arg-type]
    assert relay.run() == 0
    assert [(severity, code) for severity, code, _, _ in alerts.raised] == [("WARN", "STORE_BACKLOG")]
    assert alerts.letters == []
    assert OutboxRelay(state, store, alerts, CLOCK).run() == 2


def test_a_relay_that_looks_before_the_write_does_not_cross_the_position_off(
    state: RedisState, store: Store, alerts: MemoryAlerts, redis_client: RedisClient
) -> None:
    redis_client.zadd(keys.OUTBOX, {"p-1": 2})  # a commit's first mark …
    [(_, seen)] = state.outbox_ids(10)
    assert state.outbox_read(["p-1"], 10)["p-1"].snapshots == []
    wrote(state, "p-1", 1)  # … its write …
    state.outbox_clear([Cleared("p-1", 0, "", seen)])  # … and the relay's conclusion
    assert OutboxRelay(state, store, alerts, CLOCK).run() == 1


def test_a_relay_that_was_held_up_does_not_cross_off_what_came_behind_another_one(
    state: RedisState, store: Store, alerts: MemoryAlerts
) -> None:
    wrote(state, "p-1", 2)
    [(_, seen)] = state.outbox_ids(10)  # it stands still for longer than its lock …
    assert OutboxRelay(state, store, alerts, CLOCK).run() == 2
    assert state.outbox_ids(10) == []
    position = Position("p-1", "BTCUSDT", "FUT", "LONG", rev=2, seq=3)
    last = snapshot(position, "RESULT", "a test", 3, op=None)
    assert state.commit(Commit(position, None, snapshots=(last,))) is not None
    state.outbox_clear([Cleared("p-1", 2, "p-1:00000002", seen)])  # … and goes on
    assert OutboxRelay(state, store, alerts, CLOCK).run() == 1


def test_what_another_relay_has_taken_is_not_taken_twice(state: RedisState) -> None:
    wrote(state, "p-1", 5)
    [(_, seen)] = state.outbox_ids(10)
    first = Cleared("p-1", 2, "p-1:00000002", None)
    state.outbox_clear([first])
    state.outbox_clear([first])
    assert [doc["seq"] for doc in state.outbox_peek("p-1", 10)] == [3, 4, 5]
    assert seen > 0


def test_events_a_dead_committer_left_are_handed_on(
    state: RedisState, store: Store, alerts: MemoryAlerts, redis_client: RedisClient
) -> None:
    position = Position("p-1", "BTCUSDT", "FUT", "LONG", seq=1)
    told = event(position, "ENTRY", "o-1", 1, position.qty, None, "ENTRY", {})
    state.commit(Commit(position, None, events=(told,)))
    OutboxRelay(state, store, alerts, CLOCK).run()
    assert redis_client.xlen(keys.events("BTCUSDT")) == 1
    OutboxRelay(state, store, alerts, CLOCK).run()
    assert state.outbox_ids(10) == []
