"""What the store gives back: where Redis has nothing, and where it has only what was; never over what is newer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6 import keys
from s6.engine.operation import begin, ids
from s6.engine.recorder import Change
from s6.model.operation import AHEAD
from s6.model.position import Position
from s6.model.types import plain
from s6.model.wire import OrderResult
from s6.plan import Action
from s6.ports import StateUnavailable
from s6.recovery.rebuilder import is_behind
from s6.rules.exact import exactly
from tests.doubles.memory_redis import Copied
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, result, stopped

FUT = keys.budget("FUT")
COUNT = keys.concurrency("FUT")


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def heard(desk: Desk, name: str, kind: str = "EXIT", qty: str = "0.4", **fields: Any) -> OrderResult:
    """A result that S4 has told, of an order that filled."""
    side = "BUY" if kind in ("ENTRY", "ADD") else "SELL"
    given = {"client_order_id": name, "kind": kind, "side": side, "qty": qty, "filled_qty": qty, "leverage": "10"}
    one = result(**{**given, **fields})
    desk.s4.has[name] = one
    desk.results.apply(one, {})
    return one


def counted(desk: Desk) -> tuple[int, int]:
    """Positions and margin in use."""
    return int(desk.state.quota(COUNT)), int(desk.state.quota(FUT))


def entry_side(desk: Desk, margin: int) -> None:
    """The entry side counts an ENTRY."""
    for key, delta in ((COUNT, 1), (FUT, margin)):
        with exactly():
            desk.redis.do_set(key, plain(desk.state.quota(key) + delta))


# --- lost ---------------------------------------------------------------------------------------------------------


def test_a_lost_position_comes_back_unverified_and_counts_on_from_far_ahead(desk: Desk) -> None:
    before = desk.put(stopped(39_000, op_count=5))
    desk.redis.flushall()
    desk.clock.now += 60_000
    assert desk.rebuilder.rebuild("p1")
    after = desk.now()
    assert (after.unverified_from, after.op_count, after.rev) == (6, 5 + AHEAD, before.rev + AHEAD + 1)
    assert (after.seq, after.cause, after.rebuilt_ts) == (before.seq + 1, "REBUILT", desk.clock.now)
    same: dict[str, Any] = {
        "rev": 0,
        "op_count": 0,
        "unverified_from": 0,
        "rebuilt_ts": 0,
        "seq": 0,
        "ts": 0,
        "cause": "",
    }
    assert replace(after, **same) == replace(before, **same)
    assert (after.sl_not_before, after.hold_until) == (0, 0)  # no clock says when it is safe
    assert desk.state.ids_of("BTCUSDT") == ["p1"]
    assert not desk.rebuilder.rebuild("p1")
    desk.relay.run()
    assert [doc["cause"] for doc in desk.store.history["p1"].values()] == ["put", "REBUILT"]


def test_what_was_unverified_when_it_was_lost_is_so_from_where_it_was(desk: Desk) -> None:
    desk.put(stopped(39_000, op_count=5))
    for lost in (1, 2):
        desk.redis.flushall()
        assert desk.rebuilder.rebuild("p1")
        assert (desk.now().unverified_from, desk.now().op_count) == (6, 5 + lost * AHEAD)
        desk.relay.run()


def test_what_an_older_version_stored_is_rebuilt(desk: Desk) -> None:
    desk.put(stopped(39_000, op_count=5))
    for doc in desk.store.history["p1"].values():
        doc["state"] = {n: t for n, t in dict(doc["state"]).items() if n not in ("unverified_from", "rebuilt_ts")}  # type: ignore[call-overload]
    desk.redis.flushall()
    assert desk.rebuilder.rebuild("p1")
    assert desk.now().unverified_from == 6


def test_what_is_closed_and_at_rest_needs_no_asking(desk: Desk) -> None:
    desk.put(position(status="CLOSED", qty=D(0)))
    desk.put(stopped(39_000, position_id="p2", status="CLOSED", qty=D(0)))
    desk.redis.flushall()
    assert desk.rebuilder.rebuild("p1") and desk.rebuilder.rebuild("p2")
    assert (desk.now("p1").unverified_from, desk.now("p1").seq) == (0, 1)
    assert desk.now("p2").unverified_from == 1  # its stop may live on


def test_its_operation_and_the_books_of_all_orders_come_back(desk: Desk) -> None:
    held, op = begin(stopped(39_000), Action("EXIT", "OPERATOR", D(1), step=D("0.001")), NOW)
    desk.put(held, op)
    heard(desk, "m1")
    desk.relay.run()
    desk.redis.flushall()
    assert desk.rebuilder.rebuild("p1")
    assert desk.op() == op
    assert {o.client_order_id: o.filled for o in desk.state.own_orders("p1")} == {"SL-1": 0, "m1": D("0.4")}
    heard(desk, "m1")  # told again
    assert desk.now().qty == D("0.6")


def test_a_writer_that_holds_the_lost_state_is_not_believed(desk: Desk) -> None:
    desk.put(stopped(39_000))
    for _ in range(3):
        desk.write(desk.now())
    old = desk.now()
    desk.redis.flushall()
    assert desk.rebuilder.rebuild("p1")
    for _ in range(5):
        desk.write(desk.now())
        assert desk.recorder.write(Change(replace(old, qty=D(9)), None, NOW)) is None


# --- quotas -------------------------------------------------------------------------------------------------------


def close(desk: Desk) -> None:
    intent, name = ids(position(), 6, "EX")
    desk.s4.has[name] = result(client_order_id=name, intent_id=intent, kind="EXIT", side="SELL")


def work(desk: Desk) -> None:
    for name in ("p1", "p2"):
        desk.reconciler.verify(name)


def start(desk: Desk) -> None:
    desk.cold_start.run()


def found_closed(desk: Desk) -> None:
    """What a worker does on a hint that comes before the cold start has rebuilt all."""
    desk.rebuilder.recover("p1")
    desk.reconciler.verify("p1")


@pytest.mark.parametrize("order", [(start, work), (found_closed, start, work), (start,), (found_closed, start, start)])
def test_lost_counters_get_back_what_rebuilt_positions_had_taken_whoever_comes_first(
    desk: Desk, order: tuple[Callable[[Desk], None], ...]
) -> None:
    """The one is open still; the other's close is learned from S4, before or after its share is put back."""
    for name, margin in (("p1", 4_000), ("p2", 300)):
        desk.put(stopped(39_000, position_id=name, reserved_margin=D(margin), op_count=5))
        desk.s4.has["SL-1"] = result(
            client_order_id="SL-1", kind="SL", status="CANCELED", filled_qty=None, avg_price=None
        )
        entry_side(desk, margin)
    assert counted(desk) == (2, 4_300)
    desk.redis.flushall()
    close(desk)
    for act in order:
        act(desk)
    assert (desk.now("p1").status, desk.now("p2").status) == ("CLOSED", "OPEN")
    assert (counted(desk), desk.state.rebuilt()) == ((1, 300), [])
    entry_side(desk, 100)
    desk.cold_start.run()
    assert counted(desk) == (2, 400)


def test_counters_that_were_not_lost_stay_as_they_are(desk: Desk) -> None:
    desk.put(stopped(39_000, reserved_margin=D(4_000)))
    desk.cold_start.run()
    entry_side(desk, 4_000)
    desk.redis.do_delete(keys.state("p1"))
    desk.cold_start.run()
    assert (counted(desk), desk.now().cause) == ((1, 4_000), "VERIFIED")


def test_it_is_not_over_while_a_share_is_on_its_way(desk: Desk) -> None:
    desk.put(stopped(39_000, reserved_margin=D(4_000)))
    desk.redis.flushall()
    assert desk.rebuilder.rebuild("p1")
    desk.redis.do_set(keys.relay_claim("p1").key, "another relay's", px=5_000)
    with pytest.raises(StateUnavailable):
        desk.cold_start.run()
    desk.clock.now += 5_001
    desk.cold_start.run()
    assert counted(desk) == (1, 4_000)


# --- behind -------------------------------------------------------------------------------------------------------


def failed_over(desk: Desk, replica: Copied) -> None:
    """The store has all that was done, Redis only what had reached the replica."""
    desk.relay.run()
    desk.redis.fail_over(replica)


def test_what_redis_has_only_as_it_was_is_rebuilt_and_verified(desk: Desk) -> None:
    desk.put(stopped(39_000, op_count=5))
    replica = desk.redis.copied()
    heard(desk, "m1")
    moved = replace(desk.now(), sl_price=D(39_700), op_count=7, exit_reason="")
    desk.put(moved)
    ahead = desk.now()
    failed_over(desk, replica)
    stale = desk.now()
    assert stale.qty == 1
    desk.cold_start.run()
    after = desk.now()
    assert (after.qty, after.sl_price, after.unverified_from) == (D("0.6"), D(39_700), 0)
    assert after.op_count == 7 + AHEAD and after.rev > max(ahead.rev, stale.rev) and after.seq > ahead.seq
    assert set(place_numbers(desk)) >= {8}
    assert [raised[1] for raised in desk.alerts.raised] == ["REBUILT"]
    desk.cold_start.run()
    assert desk.now().rebuilt_ts == after.rebuilt_ts


def place_numbers(desk: Desk) -> set[int]:
    """Of which operations S4 was asked about stops."""
    return {n for n in range(20) if ids(position(), n, "SL")[1] in desk.s4.asked}


@pytest.mark.parametrize(
    ("seq", "life", "behind"), [(4, 1, True), (4, 2, True), (3, 1, False), (2, 2, False), (4, 0, False)]
)
def test_behind_is_who_lacks_steps_of_this_life_or_a_later_one(seq: int, life: int, behind: bool) -> None:
    assert is_behind(position(seq=3), {"seq": seq, "life": life}) is behind


@pytest.mark.parametrize("after", [False, True], ids=["before it is read", "once it is read"])
def test_a_live_position_is_never_overwritten_by_an_older_snapshot(desk: Desk, after: bool) -> None:
    """It advances while a rebuild asks the store for its newest snapshot, and the store hears of that at once."""
    desk.put(stopped(39_000))

    def advance() -> None:
        desk.store.hook = lambda name, key, writes: None
        heard(desk, "m1")
        desk.relay.run()

    def advances(name: str, key: str, writes: bool) -> Callable[[], None] | None:
        if after:
            return advance
        advance()
        return None

    desk.store.hook = advances
    assert not desk.rebuilder.rebuild("p1")
    assert (desk.now().qty, desk.now().rebuilt_ts) == (D("0.6"), 0)


def test_what_waits_for_the_store_is_no_loss(desk: Desk) -> None:
    desk.put(position())
    heard(desk, "m1")  # its snapshot waits
    before = desk.now()
    assert not desk.rebuilder.rebuild("p1")
    desk.cold_start.run()
    assert desk.now() == before


def test_who_writes_while_the_history_is_read_wins(desk: Desk) -> None:
    desk.put(stopped(39_000))
    replica = desk.redis.copied()
    for number in range(4):
        heard(desk, f"m{number}", qty="0.1")
    failed_over(desk, replica)
    reads: list[str] = []

    def writes(name: str, key: str, writes: bool) -> None:
        reads.append(name)
        if reads.count("snapshots") == 2:  # the newest is read, Redis has been read, the history comes now
            heard(desk, "late", qty="0.2")

    desk.store.hook = writes
    assert not desk.rebuilder.rebuild("p1")
    desk.store.hook = lambda name, key, writes: None
    assert desk.rebuilder.rebuild("p1")
    desk.reconciler.verify("p1")
    assert desk.now().qty == D("0.4")  # 4 x 0.1 that the store knew, 0.2 that the stale one had heard


def test_fills_that_only_the_stale_one_has_heard_are_booked_anew(desk: Desk) -> None:
    desk.put(stopped(39_000))
    replica = desk.redis.copied()
    for number in range(3):
        heard(desk, f"m{number}", qty="0.1")
    failed_over(desk, replica)
    heard(desk, "new", qty="0.25")
    heard(desk, "m2", qty="0.1")
    assert desk.now().qty == D("0.65")
    desk.cold_start.run()
    assert (desk.now().qty, desk.now().unverified_from) == (D("0.45"), 0)
    assert {o.client_order_id for o in desk.state.own_orders("p1") if o.filled} == {"m0", "m1", "m2", "new"}


def test_a_new_life_that_began_on_a_stale_or_empty_redis_goes_on(desk: Desk) -> None:
    """The store was away: an id that only the store knew was taken for a new position's."""
    desk.put(stopped(39_000, op_count=5))
    for number in range(5):
        heard(desk, f"m{number}", qty="0.2")
    desk.relay.run()
    desk.redis.flushall()
    desk.store.hook = _away
    heard(desk, "e9", "ENTRY", "0.3")
    assert (desk.now().life, desk.now().seq) == (1, 1)
    desk.store.hook = lambda name, key, writes: None
    desk.cold_start.run()
    now = desk.now()
    assert (now.status, now.life, now.qty, now.q0, now.unverified_from) == ("OPEN", 2, D("0.3"), D("0.3"), 0)
    assert [letter[0] for letter in desk.alerts.letters] == ["snapshots"]


def test_what_contradicts_the_store_is_left_to_the_relay(desk: Desk) -> None:
    desk.put(stopped(39_000))
    replica = desk.redis.copied()
    for number in range(3):
        heard(desk, f"m{number}", qty="0.1")
    failed_over(desk, replica)
    heard(desk, "new", qty="0.25")
    assert desk.rebuilder.rebuild("p1")
    desk.relay.run()
    assert [letter[2] for letter in desk.alerts.letters] == ["another snapshot is already stored for p1 seq 2"]
    assert sorted(desk.store.history["p1"]) == [1, 2, 3, 4, 5]
    assert desk.store.history["p1"][5]["cause"] == "REBUILT"


def test_an_exit_that_was_decided_sticks(desk: Desk) -> None:
    desk.put(stopped(39_000))
    replica = desk.redis.copied()
    heard(desk, "m1", qty="0.1")
    heard(desk, "m2", qty="0.1")
    failed_over(desk, replica)
    desk.put(replace(desk.now(), exit_reason="OPERATOR"), told=False)
    assert desk.rebuilder.rebuild("p1")
    assert desk.now().exit_reason == "OPERATOR"


@pytest.mark.parametrize("kept", [True, False], ids=["counters on another server", "counters stale as well"])
def test_quotas_follow_the_lost_steps_once(desk: Desk, kept: bool) -> None:
    desk.put(stopped(39_000, reserved_margin=D(4_000), orders=(), sl_order=""))
    desk.put(stopped(39_000, position_id="p2", reserved_margin=D(2_000), orders=(), sl_order=""))
    entry_side(desk, 4_000)
    entry_side(desk, 2_000)
    desk.cold_start.run()
    replica = desk.redis.copied()
    heard(desk, "a1", "ADD", "0.5", avg_price="40000")
    heard(desk, "m1", qty="1", position_id="p2")
    live = desk.redis.copied()[0]
    assert counted(desk) == (1, 6_000)
    failed_over(desk, replica)
    if kept:
        for key in (FUT, COUNT, keys.quota_applied(FUT), keys.quota_applied(COUNT)):
            desk.redis.data[key] = live[key]
    desk.cold_start.run()
    desk.relay.run()
    assert (desk.now("p1").qty, desk.now("p2").status) == (D("1.5"), "CLOSED")
    assert counted(desk) == (1, 6_000)
    heard(desk, "m9", qty="1.5")
    assert counted(desk) == (0, 0)


def _away(name: str, key: str, writes: bool) -> None:
    from s6.store import StoreUnavailable

    raise StoreUnavailable("away")


def test_torn_books_are_written_anew(desk: Desk) -> None:
    desk.put(stopped(39_000))
    heard(desk, "m1")
    before = desk.now()
    desk.redis.do_delete(keys.orders("p1"))
    desk.rebuilder.mend("p1")
    assert {o.client_order_id for o in desk.state.own_orders("p1")} == {"SL-1", "m1"}
    assert replace(desk.now(), rev=0) == replace(before, rev=0)


def test_only_what_the_store_knows_comes_back(desk: Desk) -> None:
    assert not desk.rebuilder.rebuild("p1")
    desk.put(Position("p2", "BTCUSDT", "FUT", "LONG"), told=False)
    assert not desk.rebuilder.rebuild("p2")


def test_torn_books_are_mended_with_what_the_store_has_not_heard_yet(desk: Desk) -> None:
    """Books as the store has them alone would have the order's fill booked once more."""
    desk.put(stopped(39_000))
    heard(desk, "m1", status="PARTIALLY_FILLED", qty="0.4", filled_qty="0.1")
    desk.relay.run()
    heard(desk, "m1", status="PARTIALLY_FILLED", qty="0.4", filled_qty="0.3")
    heard(desk, "m2", qty="0.2")
    desk.redis.do_delete(keys.orders("p1"))
    desk.rebuilder.mend("p1")
    books = {o.client_order_id: (o.filled, o.status) for o in desk.state.own_orders("p1")}
    assert books["m1"] == (D("0.3"), "PARTIALLY_FILLED")
    assert books["m2"] == (D("0.2"), "FILLED")
    for name, qty in (("m1", "0.3"), ("m2", "0.2")):
        heard(desk, name, status="PARTIALLY_FILLED" if name == "m1" else "FILLED", qty=qty, filled_qty=qty)
    assert desk.now().qty == D("0.5")


def test_live_orders_are_mended_as_the_position_has_them(desk: Desk) -> None:
    """An order that no snapshot shows yet, since the operation that sends it was written without one."""
    held = desk.put(stopped(39_000))
    late = replace(held.orders[0], client_order_id="SL-2")
    desk.write(replace(held, orders=(*held.orders, late)))
    desk.redis.do_delete(keys.orders("p1"))
    desk.rebuilder.mend("p1")
    assert {o.client_order_id for o in desk.state.own_orders("p1")} == {"SL-1", "SL-2"}
