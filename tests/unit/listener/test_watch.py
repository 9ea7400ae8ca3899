"""What stands still gets another hint, ever more seldom; what changed goes into the index; what is lost is doubted."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any, cast

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.engine.looks import Looks
from s6.engine.operation import begin
from s6.listener.index import TriggerIndex
from s6.listener.watch import IndexKeeper, RestWatch
from s6.model.commit import Commit
from s6.model.market import Features, MarketView
from s6.plan import Action
from s6.ports import PartUnavailable, StateUnavailable
from tests.support.desk import Desk, NotedHints, Rules
from tests.support.doubles import ManualClock
from tests.support.waiting import wait_for
from tests.unit.given import NOW, bundle, position, stopped

MOVE = Action("STOP_MOVE", "TRAIL", D(1), D(39_000), D(39_500), target="SL-1")


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def watching(desk: Desk, index: TriggerIndex | None = None) -> RestWatch:
    return RestWatch(desk.state, looks(desk), desk.clock, index)


def looks(desk: Desk) -> Looks:
    """The desk's hints, of which each position has one pending look at most."""
    return Looks(desk.hints, desk.state, desk.clock)


# --- operations at rest -------------------------------------------------------------------------------------------


def test_an_operation_that_stands_still_is_hinted_at_ever_more_seldom(desk: Desk) -> None:
    held, op = begin(stopped(39_000), MOVE, NOW)
    desk.put(held, op)
    watch = watching(desk)
    seen: list[int] = []
    for look in range(18):
        desk.clock.now += 1_000
        assert watch.round() == 1.0
        if len(desk.hints.resumed) > len(seen):
            seen.append(look)
    assert seen == [1, 2, 4, 8, 16]
    assert set(desk.hints.resumed) == {op.op_id}


def test_one_that_goes_on_is_let_be(desk: Desk) -> None:
    held, op = begin(stopped(39_000), MOVE, NOW)
    desk.put(held, op)
    watch = watching(desk)
    for attempts in range(5):
        desk.write(desk.now(), replace(op, attempts=attempts))
        desk.clock.now += 1_000
        watch.round()
    assert desk.hints.resumed == []


def test_one_that_waits_for_its_time_is_not_at_rest(desk: Desk) -> None:
    held, op = begin(stopped(39_000), MOVE, NOW)
    desk.put(held, replace(op, not_before=NOW + 60_000))
    watch = watching(desk)
    for _ in range(9):
        desk.clock.now += 1_000
        watch.round()
    assert desk.hints.resumed == []


def test_one_that_has_ended_leaves_the_list(desk: Desk) -> None:
    held, op = begin(stopped(39_000), MOVE, NOW)
    written = desk.put(held, op)
    desk.write(written)
    watching(desk).round()
    assert desk.state.ops_in_flight() == []


def test_redis_away_is_waited_out(desk: Desk) -> None:
    def away(name: str, key: str, writes: bool) -> None:
        raise StateUnavailable("away")

    desk.redis.hook = away
    assert watching(desk).round() == 1.0


def test_what_cannot_be_read_holds_up_no_other_look(desk: Desk) -> None:
    def away(name: str, key: str, writes: bool) -> None:
        if key == keys.OPS:
            raise StateUnavailable("its node hangs")

    index = TriggerIndex()
    index.put(position(), bundle(), Features())
    watch = watching(desk, index)
    looks(desk).evaluate("p3")
    desk.clock.now += 10_000
    desk.redis.hook = away
    watch.round()
    watch.round()
    assert desk.hints.protected == ["p1"]
    assert desk.hints.evaluated.count("p3") == 2


def test_who_has_no_stop_for_two_looks_is_protected(desk: Desk) -> None:
    index = TriggerIndex()
    index.put(position(), bundle(), Features())
    held, op = begin(position(position_id="p2"), replace(MOVE, target=""), NOW)
    desk.put(held, op)
    index.put(held, bundle(), Features())  # its stop is on its way
    watch = watching(desk, index)
    watch.round()
    assert desk.hints.protected == []
    watch.round()
    assert desk.hints.protected == ["p1"]
    index.put(stopped(39_000), bundle(), Features())
    watch.round()
    assert desk.hints.protected == ["p1"]


# --- the index ----------------------------------------------------------------------------------------------------


class Kept:
    """An index kept over a real Redis."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis: Any = redis
        self.state = RedisState(redis, ManualClock(NOW))
        self.index, self.hints = TriggerIndex(), NotedHints()
        self.keeper = IndexKeeper(redis, self.state, Rules(bundle()), self.index, cast(Any, self.hints))

    def crossed(self, low: int, high: int) -> set[str]:
        return self.index.crossed("BTCUSDT", D(high), D(low))


@pytest.fixture
def kept(redis_client: RedisClient) -> Kept:
    return Kept(redis_client)


def test_what_is_open_is_put_in_and_what_changes_follows(kept: Kept) -> None:
    first = kept.state.commit(Commit(stopped(39_000), None))
    assert first is not None
    assert kept.keeper.round() == 0.0
    assert kept.crossed(38_990, 39_010) == {"p1"}
    kept.state.commit(Commit(replace(first, sl_price=D(39_500)), None))
    kept.keeper.round()
    assert (kept.crossed(38_990, 39_010), kept.crossed(39_490, 39_510)) == (set(), {"p1"})
    kept.keeper.close()
    kept.keeper.close()


def test_what_was_crossed_before_it_was_put_in_is_written_down_and_hinted_at(kept: Kept) -> None:
    kept.keeper.round()
    kept.index.crossed("BTCUSDT", D(39_100), D(38_900), NOW + 5)
    kept.state.commit(Commit(stopped(39_000, sl_ts=NOW, ts=NOW), None))
    kept.keeper.round()
    assert kept.hints.evaluated == ["p1"]
    extremes = kept.state.market("BTCUSDT", "p1").extremes
    assert extremes is not None and (extremes.low, extremes.low_ts) == (D(38_900), NOW + 5)


@pytest.mark.parametrize("raises", [False, True], ids=["some are away", "all are away"])
def test_what_could_not_be_reached_is_put_in_a_moment_later(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    def away(symbols: set[str]) -> dict[str, MarketView]:
        if raises:
            raise PartUnavailable("its node hangs")
        return {}

    kept.keeper.round()
    with monkeypatch.context() as patch:
        patch.setattr(kept.state, "markets", away)
        kept.state.commit(Commit(stopped(39_000), None))
        kept.keeper.round()
        assert kept.crossed(38_990, 39_010) == set()
    wait_for(lambda: kept.keeper.round() == 0.0 and kept.crossed(38_990, 39_010) == {"p1"}, 3, "what was passed over")
    kept.keeper.close()


def test_what_the_index_names_and_redis_lacks_twice_is_doubted_once(kept: Kept) -> None:
    kept.redis.set(keys.RECONCILED, "1")
    kept.redis.sadd(keys.SYMBOLS, "BTCUSDT")
    kept.redis.sadd(keys.open_positions("BTCUSDT"), "lost")
    doubts = []
    for _ in range(4):
        kept.keeper._due = 0.0
        kept.keeper.round()
        doubts.append(not kept.redis.exists(keys.RECONCILED))
        kept.redis.set(keys.RECONCILED, "1")
    assert doubts == [False, True, False, False]


def test_who_is_gone_leaves_the_index(kept: Kept) -> None:
    written = kept.state.commit(Commit(stopped(39_000), None))
    assert written is not None
    kept.keeper.round()
    kept.state.settled(written)
    kept.keeper._due = 0.0
    kept.keeper.round()
    assert kept.crossed(38_990, 39_010) == set()
