"""One contract for the live state: on a real server, and on the memory that the simulation runs on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest

from s6 import keys
from s6.adapters import redis_positions, redis_records
from s6.adapters.redis_client import RedisClient, connect, servers
from s6.adapters.redis_state import RedisState
from s6.model import jsonx
from s6.model.codec import to_fields
from s6.model.commit import Alert, Cleared, Commit, QuotaMove
from s6.model.market import Extremes, Features, Tick
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Side
from s6.ports import LockLost, StateUnavailable
from tests.doubles.memory_redis import MemoryRedis


class Clock:
    now = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.now

    def steady_ms(self) -> int:
        return self.now


class Kit:
    """A state, and what it stands on."""

    def __init__(self, redis: Any, *, cluster: bool = False) -> None:
        self.clock, self.cluster = Clock(), cluster
        self.redis = redis if redis is not None else MemoryRedis(self.clock)
        self.state = RedisState(cast(RedisClient, self.redis), self.clock)
        self.state._is_cluster = cluster
        self.told: list[Alert] = []

    def born(self, name: str = "p1", **also: Any) -> Position:
        written = self.state.commit(Commit(position(name), None, **also))
        assert written is not None
        return written


@pytest.fixture(params=["memory", "memory as a cluster", "redis"])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    if request.param != "redis":
        yield Kit(None, cluster=request.param != "memory")
    else:
        with connect(request.getfixturevalue("redis_url")) as client:
            yield Kit(client)


def position(name: str = "p1") -> Position:
    return Position(name, "BTCUSDT", "FUT", "LONG", qty=Decimal("0.5"), sl_price=Decimal("43000.1"), sl_order="SL-1")


def operation() -> Operation:
    return Operation("1-1", "p1", "STOP_MOVE", "PLACE", "FIRST", 1, "sl-1", "SL-1")


def order(name: str = "SL-1", kind: Any = "SL", status: Any = "NEW") -> Order:
    return Order(name, f"i-{name}", kind, "SELL", "STOP_MARKET", Decimal(1), status, 1, 1, True)


def snapshot(seq: int) -> dict[str, object]:
    return {"_key": f"p1:{seq:08d}", "position_id": "p1", "seq": seq, "phase": "RESULT", "qty": Decimal("0.5")}


def event(number: int) -> dict[str, str]:
    return {"event_id": f"p1.1.ENTRY.{number}", "symbol": "BTCUSDT", "type": "ENTRY"}


def test_what_is_committed_is_read_back_whole(kit: Kit) -> None:
    assert kit.state.load("p1") is None
    after = kit.state.commit(Commit(position(), operation(), orders=(order(),)))
    assert after == replace(position(), rev=1)
    assert kit.state.load("p1") == (after, operation())
    assert kit.state.load_many(["p0", "p1"]) == [None, (after, operation())]
    assert kit.state.seen_order("p1", "SL-1") == order()
    assert kit.state.seen_order("p1", "SL-2") is None
    assert kit.state.own_orders("p1") == [order()]


def test_the_side_hashes_show_the_stop_and_go_with_it(kit: Kit) -> None:
    written = kit.born()
    assert kit.redis.hgetall(keys.stop("p1"))["price"] == "43000.1"
    kit.state.commit(Commit(replace(written, sl_order="", sl_price=None), None))
    assert kit.redis.hgetall(keys.stop("p1")) == {}


def test_of_two_writers_the_second_is_turned_away(kit: Kit) -> None:
    first = kit.born()
    assert kit.state.commit(Commit(replace(first, qty=Decimal(1)), None)) is not None
    assert kit.state.commit(Commit(replace(first, qty=Decimal(2)), operation(), snapshots=(snapshot(1),))) is None
    loaded = kit.state.load("p1")
    assert loaded is not None and loaded.position.qty == 1 and loaded.op is None
    assert kit.state.outbox_peek("p1", 10) == []


def test_a_commit_needs_the_lock_it_was_begun_under(kit: Kit) -> None:
    written = kit.born()
    token, loaded = kit.state.lock_and_load("p1", 5_000)
    assert token is not None and loaded == (written, None)
    assert kit.state.lock_and_load("p1", 5_000) == (None, None)
    assert kit.state.commit(Commit(written, None, token)) is not None
    assert not kit.state.unlock(keys.position_lock("p1").key, "somebody else's")
    assert kit.state.unlock(keys.position_lock("p1").key, token)
    assert not kit.state.unlock(keys.position_lock("p1").key, token)
    with pytest.raises(LockLost):
        kit.state.commit(Commit(replace(written, rev=2), None, token))


def test_events_and_quotas_are_handed_on_once(kit: Kit) -> None:
    move = QuotaMove("p1:1:close", keys.concurrency("FUT"), Decimal(-1))
    kit.redis.set(keys.concurrency("FUT"), "2")
    change = Commit(position(), None, events=(event(1), event(2)), quotas=(move,))
    first = kit.state.commit(change)
    assert first is not None and kit.state.leaves(change)
    assert kit.state.relay_events("p1", kit.told.append) == (3 if kit.cluster else 1)
    assert kit.state.relay_events("p1", kit.told.append) == 0
    kit.state.commit(Commit(first, None, quotas=(move,)))
    assert kit.state.relay_events("p1", kit.told.append) == 1
    assert kit.state.quota(keys.concurrency("FUT")) == 1


def test_events_alone_are_left_to_nobody_but_on_a_cluster(kit: Kit) -> None:
    told: list[str] = []
    if isinstance(kit.redis, MemoryRedis):
        kit.redis.appended = lambda stream, fields: told.append(fields["event_id"])
    change = Commit(position(), None, events=(event(1), event(2)))
    assert kit.state.commit(change) is not None
    if not isinstance(kit.redis, MemoryRedis):
        told += [fields["event_id"] for _, fields in kit.redis.xrange(keys.events("BTCUSDT"))]
    assert kit.state.leaves(change) is kit.cluster
    assert told == ([] if kit.cluster else ["p1.1.ENTRY.1", "p1.1.ENTRY.2"])
    assert kit.state.relay_events("p1", kit.told.append) == (2 if kit.cluster else 0)


def test_an_event_that_its_stream_refuses_waits(redis_url: str) -> None:
    with connect(redis_url) as client:
        kit = Kit(client)
        kit.redis.set(keys.events("BTCUSDT"), "no stream")
        kit.born(events=(event(1),))
        assert kit.state.outbox_read(["p1"], 9)["p1"].events == 1
        assert [name for name, _ in kit.state.outbox_ids(9)] == ["p1"]
        kit.redis.delete(keys.events("BTCUSDT"))
        assert kit.state.relay_events("p1", kit.told.append) == 1
        assert kit.redis.xlen(keys.events("BTCUSDT")) == 1


def test_side_hashes_are_written_when_they_have_changed_or_as_a_whole(kit: Kit) -> None:
    written = kit.born()
    kit.redis.delete(keys.stop("p1"))
    kit.redis.delete(keys.ladder("p1"))
    moved = kit.state.commit(Commit(replace(written, sl_price=Decimal(44000)), None))
    assert moved is not None
    assert kit.redis.hgetall(keys.stop("p1"))["price"] == "44000" and kit.redis.hgetall(keys.ladder("p1")) == {}
    assert kit.state.commit(Commit(moved, None, whole=True)) is not None
    assert kit.redis.hgetall(keys.ladder("p1"))["done"] == "[]"


def test_a_position_that_was_written_since_is_not_settled(kit: Kit) -> None:
    written = kit.born()
    assert kit.state.commit(Commit(written, None, events=(event(1),))) is not None
    kit.state.settled(written)
    assert kit.state.ids_of("BTCUSDT") == ["p1"]


def test_alerts_are_told_before_the_rest_is_handed_on(kit: Kit) -> None:
    alert = Alert("al-1", 1, "FATAL", "STOP_MOVE_FAILED", "p1", "both refused")
    kit.redis.set(keys.budget("FUT"), "2")
    kit.born(quotas=(QuotaMove("a", keys.budget("FUT"), Decimal(-1)),), alerts=(alert,))
    assert [name for name, _ in kit.state.outbox_ids(9)] == ["p1"]
    assert kit.state.outbox_read(["p1"], 9)["p1"].events == 2

    def away(told: Alert) -> None:
        raise StateUnavailable("away")

    with pytest.raises(StateUnavailable):
        kit.state.relay_events("p1", away)
    assert kit.state.quota(keys.budget("FUT")) == 2
    assert kit.state.relay_events("p1", kit.told.append) == 0  # the claim stays for a while
    kit.redis.delete(keys.relay_claim("p1").key)
    assert kit.state.relay_events("p1", kit.told.append) == 2
    assert kit.told == [alert]
    assert kit.state.quota(keys.budget("FUT")) == 1


@pytest.mark.parametrize("odd", [b"much", b"NaN", b"-Infinity", b"1e999999999", b"\xff", b"1,5", b" "])
def test_a_counter_that_is_no_number_leaves_no_room_and_is_counted_anew(kit: Kit, odd: bytes) -> None:
    """The entry side writes it as well. Nothing waits behind it, and people hear of it."""
    is_memory = isinstance(kit.redis, MemoryRedis)
    kit.redis.set(keys.budget("FUT"), odd.decode("utf-8", "surrogateescape") if is_memory else odd)
    assert kit.state.quota(keys.budget("FUT")) == Decimal("Infinity")
    assert not kit.state.reserve_add(
        "p2", "ADD-1", Decimal(1), limit=None, room=lambda: Decimal(10) - kit.state.quota(keys.budget("FUT"))
    )
    move = QuotaMove("a", keys.budget("FUT"), Decimal(5))
    first = kit.born(events=(event(1),), quotas=(move,))
    assert kit.state.relay_events("p1", kit.told.append) == (2 if kit.cluster else 1)
    assert kit.state.quota(keys.budget("FUT")) == 5
    assert [(told.severity, told.code) for told in kit.told] == [("ERROR", "QUOTA_MALFORMED")]
    kit.state.commit(Commit(first, None, quotas=(move,)))
    kit.state.relay_events("p1", kit.told.append)
    assert (kit.state.quota(keys.budget("FUT")), len(kit.told)) == (Decimal(5), 1)


def test_quotas_never_fall_below_zero(kit: Kit) -> None:
    kit.born(quotas=(QuotaMove("a", keys.budget("FUT"), Decimal("-0.5")),))
    kit.state.relay_events("p1", kit.told.append)
    assert kit.state.quota(keys.budget("FUT")) == 0


def test_snapshots_wait_in_order_and_go_only_as_they_were_seen(kit: Kit) -> None:
    first = kit.born(snapshots=(snapshot(1), snapshot(2)))
    [(name, seen)] = kit.state.outbox_ids(10)
    assert name == "p1" and kit.state.outbox_peek("p1", 10) == [snapshot(1), snapshot(2)]
    assert kit.state.outbox_size() == 2
    kit.state.commit(Commit(first, None, snapshots=(snapshot(3),)))
    kit.state.outbox_clear([Cleared("p1", 2, "another", None)])
    assert kit.state.outbox_size() == 3
    kit.state.outbox_clear([Cleared("p1", 2, str(snapshot(2)["_key"]), seen)])
    assert kit.state.outbox_peek("p1", 10) == [snapshot(3)]
    [(_, seen)] = kit.state.outbox_ids(10)
    kit.state.outbox_clear([Cleared("p1", 1, str(snapshot(3)["_key"]), seen)])
    assert kit.state.outbox_ids(10) == []


def test_indexes_name_what_there_is(kit: Kit) -> None:
    kit.born("p1")
    after = kit.state.commit(Commit(position("p2"), replace(operation(), position_id="p2")))
    assert after is not None
    assert sorted(kit.state.open_ids()) == sorted(kit.state.ids_of("BTCUSDT")) == ["p1", "p2"]
    assert kit.state.symbols() == ["BTCUSDT"]
    assert kit.state.all_ids(after="", limit=1) == ["p1"]
    assert kit.state.all_ids(after="p1", limit=9) == ["p2"]
    [(name, seen)] = kit.state.ops_in_flight()
    assert name == "p2"
    kit.state.op_settled("p2", seen - 1)
    assert len(kit.state.ops_in_flight()) == 1
    kit.state.op_settled("p2", seen)
    kit.state.settled(after)
    assert kit.state.ops_in_flight() == [] and kit.state.ids_of("BTCUSDT") == ["p1"]


def test_a_mark_that_was_seen_before_others_crosses_off_nothing_newer(kit: Kit) -> None:
    first = kit.state.commit(Commit(position("p2"), replace(operation(), position_id="p2")))
    [(_, seen)] = kit.state.ops_in_flight()
    kit.state.op_settled("p2", seen)
    assert first is not None and kit.state.commit(Commit(first, replace(operation(), position_id="p2"))) is not None
    kit.state.op_settled("p2", seen)
    assert [name for name, _ in kit.state.ops_in_flight()] == ["p2"]


def test_markets_keep_the_newest(kit: Kit) -> None:
    for ts, mark in ((2, "10.5"), (1, "9")):
        kit.state.put_tick("BTCUSDT", Tick(ts, Decimal(mark), Decimal(10), Decimal(11)))
    kit.state.put_features("BTCUSDT", Features(5, Decimal(2), "LOW", "LONG", "s1", 5))
    view = kit.state.market("BTCUSDT")
    assert view.tick is not None and view.tick.mark == Decimal("10.5") and view.features.signal_id == "s1"
    assert kit.state.markets(["BTCUSDT"])["BTCUSDT"] == view
    assert kit.state.market("ETHUSDT").tick is None


def test_crossings_remember_both_ends_until_they_are_used(kit: Kit) -> None:
    for mark, ts in ((Decimal(10), 1), (Decimal(8), 2), (Decimal(9), 3)):
        kit.state.put_crossing("p1", mark, ts)
    seen = kit.state.market("BTCUSDT", "p1").extremes
    assert seen == Extremes(Decimal(10), 1, Decimal(8), 2, 2)
    kit.state.put_crossing("p1", Decimal(11), 4)
    kit.state.clear_crossing("p1", seen)
    again = kit.state.market("BTCUSDT", "p1").extremes
    assert again is not None and again.high == 11
    kit.state.clear_crossing("p1", again)
    assert kit.state.market("BTCUSDT", "p1").extremes is None


@pytest.mark.parametrize("late_first", [False, True])
@pytest.mark.parametrize("side", ["LONG", "SHORT"])
def test_the_worst_is_kept_since_the_stop_price_and_the_best_since_the_entry(
    kit: Kit, side: Side, late_first: bool
) -> None:
    """Whatever the order in which the marks come: what is from before counts for nothing."""
    commit = Commit(replace(position(), side=side, entry_ts=20, sl_ts=40), None)
    old = [(60, 10), (140, 10)]
    new = [(93, 42), (95, 43), (110, 21), (107, 41)] if side == "LONG" else [(107, 42), (105, 43), (90, 21), (93, 41)]
    for mark, ts in [] if late_first else old:
        kit.state.put_crossing("p1", Decimal(mark), ts)
    assert kit.state.commit(commit) is not None
    for mark, ts in [*new, *old]:
        kit.state.put_crossing("p1", Decimal(mark), ts)
    found = kit.state.market("BTCUSDT", "p1").extremes
    assert found is not None
    assert found.worst(side) == (Decimal(93 if side == "LONG" else 107), 42)
    assert found.best(side) == (Decimal(110 if side == "LONG" else 90), 21)


def test_results_wait_for_their_position(kit: Kit) -> None:
    kit.state.park("p1", {"a": "1"}, 100)
    kit.state.park("p1", {"a": "1"}, 900)
    kit.state.park("p2", {"a": "2"}, 200)
    assert kit.state.parked("p1") == [{"a": "1"}]
    assert kit.state.parked_overdue(150) == [("p1", {"a": "1"})]
    kit.state.park("p3", {"a": "3"}, 3_600_000)  # parked before the clock was set back
    assert kit.state.parked_overdue(150) == [("p1", {"a": "1"})]
    assert kit.state.parked_overdue(150, 60_000) == [("p1", {"a": "1"}), ("p3", {"a": "3"})]
    kit.state.unpark("p1", {"a": "1"})
    assert kit.state.parked("p1") == []


def test_adds_find_room_or_wait(kit: Kit) -> None:
    assert kit.state.reserve_add("p1", "ADD-1", Decimal(5), limit=2, room=lambda: Decimal(10))
    assert kit.state.reserve_add("p2", "ADD-1", Decimal(5), limit=2, room=lambda: Decimal(10))
    assert not kit.state.reserve_add("p3", "ADD-1", Decimal(0), limit=2, room=None)
    assert not kit.state.reserve_add("p2", "ADD-1", Decimal(6), limit=9, room=lambda: Decimal(10))
    kit.state.release_add("p1", "ADD-1")
    assert list(kit.state.adds_reserved()) == ["p2"]
    kit.state.release_add("p2", "ADD-2")
    assert list(kit.state.adds_reserved()) == ["p2"]
    kit.state.commit(Commit(position("p2"), None, orders=(order("ADD-1", "ADD", "FILLED"),)))
    kit.state.relay_events("p2", kit.told.append)
    assert kit.state.adds_reserved() == {}


def test_the_room_is_asked_for_once_the_reservations_are_read(kit: Kit) -> None:
    """An add that ends in between is in the budget by then, and may still be among the reservations."""
    assert kit.state.reserve_add("p1", "ADD-1", Decimal(5), limit=None, room=None)
    move = QuotaMove("m", keys.budget("FUT"), Decimal(5))

    def room() -> Decimal:
        kit.born("p1", orders=(order("ADD-1", "ADD", "FILLED"),), quotas=(move,))
        kit.state.relay_events("p1", kit.told.append)
        return Decimal(10) - kit.state.quota(keys.budget("FUT"))

    assert not kit.state.reserve_add("p2", "ADD-2", Decimal(6), limit=None, room=room)


def test_a_reservation_ends_when_its_budget_move_is_applied_and_not_before(kit: Kit) -> None:
    move = QuotaMove("m", keys.budget("FUT"), Decimal(5))
    assert kit.state.reserve_add("p1", "ADD-1", Decimal(5), limit=1, room=None)
    kit.born("p1", orders=(order("ADD-1", "ADD", "FILLED"),), quotas=(move,))
    assert (list(kit.state.adds_reserved()), kit.state.quota(keys.budget("FUT"))) == (["p1"], Decimal(0))
    assert not kit.state.reserve_add("p2", "ADD-2", Decimal(5), limit=1, room=None)
    assert [name for name, _ in kit.state.outbox_ids(9)] == ["p1"]
    kit.state.relay_events("p1", kit.told.append)
    assert (list(kit.state.adds_reserved()), kit.state.quota(keys.budget("FUT"))) == ([], Decimal(5))


def test_a_lock_ends_by_itself(kit: Kit) -> None:
    assert kit.state.lock("lock:x", 40) is not None
    assert kit.state.lock("lock:x", 40) is None
    if isinstance(kit.redis, MemoryRedis):
        kit.clock.now += 41
    else:
        kit.redis.pexpire("lock:x", 1)
        while kit.redis.exists("lock:x"):
            pass
    assert kit.state.lock("lock:x", 40) is not None


def test_a_new_server_is_taught_the_scripts(kit: Kit) -> None:
    first = kit.born()
    if isinstance(kit.redis, MemoryRedis):
        kit.redis.flushall()
    else:
        kit.redis.flushdb()
        kit.redis.script_flush()
    again = kit.state.commit(Commit(replace(first, rev=0), None, snapshots=(snapshot(1),)))
    assert again is not None and kit.state.outbox_ids(9)[0][0] == "p1"


def test_a_commit_goes_over_another_rev_than_its_own(kit: Kit) -> None:
    far = replace(position(), rev=1_000)
    assert kit.state.commit(Commit(far, None)) is None
    assert kit.state.commit(Commit(far, None, over=1)) is None
    born = kit.state.commit(Commit(far, None, over=0))
    assert born is not None and born.rev == 1_001
    assert kit.state.ids_of("BTCUSDT") == ["p1"] and kit.state.all_ids(after="", limit=9) == ["p1"]
    assert kit.state.commit(Commit(replace(far, rev=3_000), None, over=0)) is None
    again = kit.state.commit(Commit(replace(far, rev=3_000), None, over=1_001))
    assert again is not None and kit.state.load("p1") == (replace(far, rev=3_001), None)


def test_as_many_orders_as_there_are_are_written_at_once(kit: Kit) -> None:
    many = tuple(order(f"SL-{number}") for number in range(5_000))
    kit.born(orders=many)
    assert len(kit.state.own_orders("p1")) == 5_000


def test_lost_counters_are_restored_until_they_are_whole(kit: Kit) -> None:
    share = QuotaMove("p1:1:rebuilt", keys.budget("FUT"), Decimal("12.5"), restores=True)
    kit.born(quotas=(share, share))
    kit.state.relay_events("p1", lambda alert: None)
    assert kit.state.quota(keys.budget("FUT")) == Decimal("12.5")
    kit.state.quota_whole(keys.budget("FUT"))
    kit.state.quota_whole(keys.budget("FUT"))
    assert kit.state.quota(keys.budget("FUT")) == Decimal("12.5")
    kit.born(
        "p2", quotas=(replace(share, move_id="p2:1:rebuilt"), QuotaMove("p2:1:close", keys.budget("FUT"), Decimal(-2)))
    )
    kit.state.relay_events("p2", lambda alert: None)
    assert kit.state.quota(keys.budget("FUT")) == Decimal("10.5")


def test_positions_that_are_put_back_are_noted(kit: Kit) -> None:
    for name in ("p2", "p1", "p2"):
        kit.state.note_rebuilt(name)
    assert kit.state.rebuilt() == ["p1", "p2"]
    kit.state.rebuilt_done("p2")
    assert kit.state.rebuilt() == ["p1"]


def test_another_server_is_told_from_the_one_before(kit: Kit) -> None:
    first = servers(cast(RedisClient, kit.redis))
    assert first and servers(cast(RedisClient, kit.redis)) == first


def test_a_memory_that_was_emptied_is_another_server() -> None:
    memory = MemoryRedis(Clock())
    first = servers(cast(RedisClient, memory))
    memory.flushall()
    assert servers(cast(RedisClient, memory)) != first


class Restless:
    """A compare-and-set script under which somebody else always writes first."""

    def __init__(self, answer: int) -> None:
        self.answer, self.calls = answer, 0

    def __call__(self, **_: object) -> int:
        self.calls += 1
        return self.answer


def test_what_keeps_changing_is_given_up_with_its_name(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    swap, reserve, quota = Restless(0), Restless(0), Restless(-1)
    monkeypatch.setattr(kit.state, "_swap", swap)
    monkeypatch.setattr(kit.state, "_reserve", reserve)
    monkeypatch.setattr(kit.state, "_quota", quota)
    with pytest.raises(StateUnavailable, match=r"pos:cross:\{p1\} kept changing"):
        kit.state.put_crossing("p1", Decimal(1), 1)
    with pytest.raises(StateUnavailable, match="s6:adds kept changing"):
        kit.state.reserve_add("p1", "ADD-1", Decimal(1), limit=None, room=None)
    with pytest.raises(StateUnavailable, match="risk:budget:FUT kept changing"):
        kit.state.quota_whole(keys.budget("FUT"))
    assert (swap.calls, reserve.calls, quota.calls) == (200, 200, 200)


# --- adds at work -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "freed"),
    [("PENDING", False), ("NEW", False), ("PARTIALLY_FILLED", False),
     ("FILLED", True), ("CANCELED", True), ("REJECTED", True), ("EXPIRED", True)],
)  # fmt: skip
def test_the_place_of_an_add_is_free_when_it_has_ended(kit: Kit, status: str, freed: bool) -> None:
    """What it asked for counts until then, whatever else is written."""
    assert kit.state.reserve_add("p1", "ADD-1", Decimal(5), limit=1, room=lambda: Decimal(9))
    written = kit.born("p1", orders=(order("SL-1", "SL", "FILLED"), order("ADD-1", "ADD", status)))
    kit.state.relay_events("p1", kit.told.append)
    assert list(kit.state.adds_reserved()) == ([] if freed else ["p1"])
    assert kit.state.reserve_add("p2", "ADD-1", Decimal(5), limit=1, room=None) is freed
    assert kit.state.reserve_add("p2", "ADD-1", Decimal(5), limit=None, room=lambda: Decimal(9)) is freed
    assert written.rev == 1


def test_an_add_of_a_commit_that_was_not_written_is_still_at_work(kit: Kit) -> None:
    kit.born("p1")
    kit.state.reserve_add("p1", "ADD-1", Decimal(5), limit=1, room=None)
    assert kit.state.commit(Commit(position(), None, orders=(order("ADD-1", "ADD", "FILLED"),))) is None
    kit.state.relay_events("p1", kit.told.append)
    assert list(kit.state.adds_reserved()) == ["p1"]


# --- orders -------------------------------------------------------------------------------------------------------


def test_finished_orders_are_bounded_and_live_ones_stay(kit: Kit) -> None:
    """A day of trailing: each move of the stop leaves a cancelled order behind, each rung a filled one."""
    written = kit.born("p1", orders=(replace(order("SL-live"), sent_ts=0),))
    for start in range(0, 2_000, 50):
        moved = [replace(order(f"SL-{n}", status="CANCELED"), sent_ts=n) for n in range(start, start + 50)]
        taken = [
            replace(order(f"TP-{n}", "TP", "FILLED"), sent_ts=n, filled=Decimal(1)) for n in range(start, start + 10)
        ]
        after = kit.state.commit(Commit(written, None, orders=(*moved, *taken)))
        assert after is not None
        written = after
        assert kit.redis.hlen(keys.orders("p1")) <= 512 + 60
    known = {o.client_order_id for o in kit.state.own_orders("p1")}
    assert "SL-live" in known
    assert {f"SL-{n}" for n in range(1_936, 2_000)} <= known
    assert {f"TP-{n}" for n in range(1_950, 1_960)} <= known and len([n for n in known if n[:2] == "TP"]) >= 256
    assert "SL-0" not in known and "TP-0" not in known


def test_an_order_that_was_written_anew_is_not_forgotten(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_positions, "MOST_ORDERS", 1)
    monkeypatch.setattr(redis_positions, "LOOKED_AFTER", 1)
    monkeypatch.setattr(redis_records, "UNFILLED_KEPT", 1)
    choose = redis_records.stale_orders

    def late(rows: Any) -> list[str]:
        stale = choose(rows)
        filled = replace(order("SL-1", status="FILLED"), filled=Decimal(1))
        kit.redis.hset(keys.orders("p1"), mapping={"SL-1": jsonx.dumps(to_fields(filled))})
        return stale

    monkeypatch.setattr(redis_records, "stale_orders", late)
    done = (replace(order("SL-1", status="CANCELED"), sent_ts=1), replace(order("SL-2", status="CANCELED"), sent_ts=2))
    kit.born("p1", orders=done)
    assert {o.client_order_id: o.filled for o in kit.state.own_orders("p1")} == {"SL-1": 1, "SL-2": 0}
