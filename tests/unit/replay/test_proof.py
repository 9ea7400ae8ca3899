"""The proof: against a real Redis that holds the position as S6 writes it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from s6 import keys
from s6.adapters.clock import SystemClock
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.model import jsonx
from s6.model.commit import Commit
from s6.model.operation import Operation
from s6.recovery.rebuilder import Rebuilder
from s6.replay.proof import Proof, prove, read_live
from s6.store import open_store
from tests.unit.replay.stories import Story, whole_life


def put(redis: RedisClient, story: Story, *, waiting: int = 0, op: Operation | None = None) -> None:
    """The story's position into Redis, its last ``waiting`` snapshots still on their way."""
    assert story.position is not None
    before = replace(story.position, rev=story.position.rev - 1)
    redis.hset(keys.state("p1"), "rev", str(before.rev))
    snapshots = tuple(story.docs[len(story.docs) - waiting :])
    assert RedisState(redis, SystemClock()).commit(Commit(before, op, snapshots=snapshots)) is not None


def proof(redis: RedisClient, story: Story, *, stored: int | None = None) -> Proof:
    return prove(story.docs[:stored], read_live(redis, "p1"))


def test_it_holds(redis_client: RedisClient) -> None:
    story = whole_life()
    put(redis_client, story)
    found = proof(redis_client, story)
    assert found == Proof(len(story.docs), 8, len(story.docs), len(story.docs), 0, 0, ())
    assert found.holds


def test_snapshots_on_their_way_to_the_store_count(redis_client: RedisClient) -> None:
    story = whole_life()
    put(redis_client, story, waiting=4)
    assert proof(redis_client, story, stored=-4).holds
    assert proof(redis_client, story, stored=-2).holds  # two of them are in both


def test_commits_without_a_snapshot_may_move_the_market_alone(redis_client: RedisClient) -> None:
    story = Story()
    story.heard("ENTRY", "e1", "0.1", "0.1")
    story.silent(best_mark=Decimal(41000), stagnated=True)
    put(redis_client, story)
    found = proof(redis_client, story)
    assert (found.holds, found.later_commits) == (True, 1)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("qty", "0.5", "live state: qty is 0.5, not 0 of snapshot 14"),
        ("realized_pnl_usdt", "1", "live state: realized_pnl_usdt is 1, not 1.6 of snapshot 14"),
        ("best_mark", "1", "live state: best_mark is 1, not 39500 of snapshot 14"),
        ("seq", "15", "the live state is at seq 15, the snapshots end at seq 14"),
        ("add_on_count", "3", "pos:adds count is 0, not 3 as in pos:state"),
    ],
)
def test_a_live_state_that_differs_is_told(redis_client: RedisClient, field: str, value: str, words: str) -> None:
    story = whole_life()
    put(redis_client, story)
    redis_client.hset(keys.state("p1"), field, value)
    assert words in proof(redis_client, story).faults


def test_the_hashes_beside_the_state_count(redis_client: RedisClient) -> None:
    story = Story()
    story.heard("ENTRY", "e1", "0.1", "0.1")
    story.governed("STOP_MOVE success", sl_price=Decimal(39000), sl_order="SL-1", sl_qty=Decimal("0.1"))
    put(redis_client, story)
    assert proof(redis_client, story).holds
    redis_client.hset(keys.stop("p1"), "price", "38000")
    assert proof(redis_client, story).faults == ("pos:sl:level price is 38000, not 39000 as in pos:state",)
    redis_client.delete(keys.stop("p1"))
    assert proof(redis_client, story).faults == ("pos:sl:level client_order_id is None, not SL-1 as in pos:state",)


def test_the_operation_in_flight_counts(redis_client: RedisClient) -> None:
    op = Operation("1-1", "p1", "STOP_MOVE", "PLACE", "FIRST", 1, "sl-x", "SL-x")
    story = Story()
    story.heard("ENTRY", "e1", "0.1", "0.1")
    story.governed("hint: STOP_MOVE FIRST", "BEFORE", op=op)
    put(redis_client, story, op=op)
    assert proof(redis_client, story).holds
    redis_client.hdel(keys.state("p1"), "_op")
    assert "the operation in flight is none, not STOP_MOVE 1-1 PLACE" in proof(redis_client, story).faults[0]


def test_a_position_that_redis_lost(redis_client: RedisClient) -> None:
    assert read_live(redis_client, "p1") is None
    assert proof(redis_client, whole_life()).faults == ("Redis has no live state of it (pos:state)",)


def test_it_holds_once_redis_has_lost_the_position_and_has_it_back(redis_client: RedisClient, tmp_path: Path) -> None:
    story = Story()
    story.heard("ENTRY", "e1", "0.1", "0.1")
    with closing(open_store(f"sqlite:///{tmp_path}/s6.db")) as store:
        store.init()
        store.write_snapshots(story.docs)
        assert Rebuilder(RedisState(redis_client, SystemClock()), store, SystemClock()).rebuild("p1")
    assert proof(redis_client, story).faults == ()


def test_many_faults_are_cut(redis_client: RedisClient) -> None:
    docs = whole_life().docs
    for doc in docs:
        doc["qty"] = jsonx.loads("1e3")
    assert len(prove(docs * 10, None).faults) < 40
