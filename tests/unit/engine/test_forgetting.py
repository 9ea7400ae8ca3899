"""Closed positions leave Redis once they have been over for long, and their next life goes on where they were."""

from __future__ import annotations

from typing import cast

import pytest

from s6 import keys
from s6.adapters import redis_index
from s6.model.commit import Commit
from s6.model.position import Position
from s6.store import StoreUnavailable
from tests.doubles.memory_redis import After, no_hook
from tests.simulation.memory_store import MemoryStore
from tests.support.desk import Desk
from tests.unit.given import bundle, result

KEEP_MS = 86_400_000


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def lived(desk: Desk, name: str = "p1", *, told: bool = True) -> Position:
    """A position that was opened, closed by hand and settled."""
    now = desk.clock.now
    for order, kind, side in ((f"e-{now}", "ENTRY", "BUY"), (f"x-{now}", "EXIT", "SELL")):
        desk.results.apply(result(ts=now, position_id=name, client_order_id=order, kind=kind, side=side), {})
    desk.governor.evaluate(name)
    if told:
        desk.relay.run()
    return desk.now(name)


def left(desk: Desk, name: str = "p1") -> list[str]:
    """Keys and indexes that still speak of the position."""
    held = [key for key in desk.redis.data if name in key]
    return held + [key for key, value in desk.redis.data.items() if key.startswith("s6:") and name in value]


def history(store: MemoryStore, name: str = "p1") -> list[int]:
    return sorted(store.history[name])


def test_a_closed_position_leaves_redis_when_its_time_is_over(desk: Desk) -> None:
    lived(desk)
    desk.clock.now += KEEP_MS - 1
    desk.sweep.run()
    assert desk.now().status == "CLOSED"
    desk.clock.now += 2
    desk.sweep.run()
    assert left(desk) == [keys.gone("p1"), keys.GONE]
    assert desk.state.symbols() == []


def test_it_stays_until_the_store_has_all_of_it(desk: Desk) -> None:
    lived(desk, told=False)
    desk.clock.now += 2 * KEEP_MS
    desk.sweep.run()
    assert desk.now().status == "CLOSED" and desk.state.all_ids(after="", limit=9) == ["p1"]
    desk.relay.run()
    desk.sweep.run()
    assert desk.state.load("p1") is None


def test_it_stays_until_the_store_knows_that_it_closed(desk: Desk) -> None:
    """Redis lost a step that the store has, and the close bears its number: the store still shows it open."""
    lived(desk, told=False)
    [*steps, close] = desk.state.outbox_peek("p1", 9)
    another = {**close, "status": "OPEN", "cause": "the step that was lost"}
    desk.store.write_snapshots([*steps, another])
    desk.relay.run()
    assert (desk.now().unverified_from, desk.state.ids_of("BTCUSDT")) == (1, ["p1"])
    desk.clock.now += 2 * KEEP_MS
    assert desk.sweep.run().hinted == ["p1"]
    assert desk.now().status == "CLOSED" and desk.state.all_ids(after="", limit=9) == ["p1"]
    desk.reconciler.verify("p1")
    desk.governor.evaluate("p1")
    desk.relay.run()
    assert desk.store.snapshots(position_id="p1", limit=1, newest_first=True).items[0]["status"] == "CLOSED"
    desk.clock.now += 2 * KEEP_MS
    desk.sweep.run()
    assert left(desk) == [keys.gone("p1"), keys.GONE]


def test_what_lives_anew_is_not_forgotten_with_its_former_life(desk: Desk) -> None:
    lived(desk)
    desk.clock.now += 2 * KEEP_MS
    desk.results.apply(result(ts=desk.clock.now, client_order_id="e2"), {})
    desk.relay.run()
    desk.sweep.run()
    assert desk.now().is_open and desk.now().life == 2
    assert desk.state.ids_of("BTCUSDT") == ["p1"] and desk.state.symbols() == ["BTCUSDT"]
    assert desk.state.closed_before(desk.clock.now, 9) == []


def test_the_next_life_of_what_has_left_goes_on_from_the_store(desk: Desk) -> None:
    desk.redis.do_set(keys.RECONCILED, "1")
    former = lived(desk)
    desk.clock.now += 2 * KEEP_MS
    desk.sweep.run()
    assert desk.state.load("p1") is None and desk.state.may_be_lost("p1")
    desk.results.apply(result(ts=desk.clock.now, client_order_id="e2"), {})
    now = desk.now()
    assert (now.life, now.seq, now.is_open) == (2, former.seq + 1, True)
    assert now.op_count > former.op_count and now.unverified_from == 0
    desk.relay.run()
    assert history(desk.store) == list(range(1, now.seq + 1))
    assert desk.state.ids_of("BTCUSDT") == ["p1"]


def test_a_late_word_about_what_has_left_is_booked_and_leaves_again(desk: Desk) -> None:
    desk.redis.do_set(keys.RECONCILED, "1")
    former = lived(desk)
    close = next(o for o in desk.state.own_orders("p1") if o.kind == "EXIT")
    desk.clock.now += 2 * KEEP_MS
    desk.sweep.run()
    late = result(ts=desk.clock.now, client_order_id=close.client_order_id, kind="EXIT", side="SELL", fee="20")
    assert desk.results.apply(late, {}) == "APPLIED"
    assert [raised[1] for raised in desk.alerts.raised] == ["LATE_FEE"]
    assert desk.now().seq == former.seq + 1
    desk.governor.evaluate("p1")
    desk.relay.run()
    desk.clock.now += 2 * KEEP_MS
    desk.sweep.run()
    assert desk.state.load("p1") is None


def test_of_those_that_have_left_the_newest_are_remembered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_index, "GONE_KEPT", 3)
    for number in range(5):
        lived(desk, f"p{number}")
        desk.clock.now += KEEP_MS + 1
        desk.sweep.run()
    assert sorted(key for key in desk.redis.data if key.startswith("pos:")) == [keys.gone(f"p{n}") for n in (2, 3, 4)]
    assert sorted(cast(dict[str, float], desk.redis.data[keys.GONE])) == ["p2", "p3", "p4"]


def test_a_cold_start_brings_back_what_closed_lately_and_remembers_the_rest(desk: Desk) -> None:
    lived(desk, "p1")
    desk.clock.now += 2 * KEEP_MS
    lived(desk, "p2")
    desk.redis.flushall()
    desk.cold_start.run()
    assert desk.state.load("p1") is None and desk.state.may_be_lost("p1")
    assert desk.now("p2").status == "CLOSED"
    desk.redis.do_set(keys.RECONCILED, "1")
    desk.results.apply(result(ts=desk.clock.now, client_order_id="e2"), {})
    assert desk.now("p1").life == 2


def test_what_closed_before_it_was_noted_is_noted_by_a_cold_start(desk: Desk) -> None:
    lived(desk)
    desk.redis.do_delete(keys.CLOSED)
    desk.cold_start.run()
    desk.clock.now += 2 * KEEP_MS
    desk.relay.run()
    desk.sweep.run()
    assert left(desk) == [keys.gone("p1"), keys.GONE]


def test_the_store_away_the_next_life_goes_on_by_the_trace(desk: Desk) -> None:
    """Its ids and steps must not be those of the former life."""
    desk.redis.do_set(keys.RECONCILED, "1")
    former = lived(desk)
    desk.clock.now += 2 * KEEP_MS
    desk.sweep.run()

    def away(name: str, key: str, writes: bool) -> After:
        raise StoreUnavailable("away")

    desk.store.hook = away
    assert desk.results.apply(result(ts=desk.clock.now, client_order_id="e2"), {}) == "APPLIED"
    now = desk.now()
    assert (now.life, now.seq, now.is_open, now.side) == (2, former.seq + 1, True, "LONG")
    assert now.op_count > former.op_count and now.rev > former.rev
    assert keys.gone("p1") not in desk.redis.data
    desk.store.hook = no_hook
    desk.relay.run()
    assert (history(desk.store), desk.alerts.letters) == (list(range(1, now.seq + 1)), [])


def test_a_birth_that_was_decided_before_a_whole_life_is_refused(desk: Desk) -> None:
    """A process that was held up for all of a position's life must not begin it once more."""
    early = Position("p1", "BTCUSDT", "FUT", "LONG")
    lived(desk)
    desk.clock.now += 2 * KEEP_MS
    desk.sweep.run()
    assert desk.state.load("p1") is None
    assert desk.state.commit(Commit(early, None)) is None
    assert desk.state.load("p1") is None


def first_stop(desk: Desk) -> tuple[str, list[str]]:
    """An entry and its first stop: the stop's id, and the ids of the events."""
    seen: list[str] = []
    desk.redis.appended = lambda stream, fields: seen.append(fields["event_id"])
    desk.results.apply(result(ts=desk.clock.now, client_order_id=f"e-{desk.clock.now}"), {})
    op = desk.governor.evaluate("p1").op
    assert op is not None
    desk.executor.advance("p1", op.op_id)
    return desk.now().sl_order, seen


def test_an_id_that_comes_again_after_all_of_it_was_forgotten_repeats_no_other_id(desk: Desk) -> None:
    """The store was pruned, then Redis lost: S4 still answers for the former life's orders under their ids."""
    former, events = first_stop(desk)
    for _ in range(2):
        desk.redis.flushall()
        desk.store.history.clear()
        desk.redis.do_set(keys.RECONCILED, "1")
        again, repeated = first_stop(desk)
        assert (again, repeated) == (former, events)  # the same entry, told again after the loss
    desk.redis.flushall()
    desk.store.history.clear()
    desk.redis.do_set(keys.RECONCILED, "1")
    desk.clock.now += 2 * KEEP_MS
    stop, others = first_stop(desk)
    assert (desk.now().life, desk.now().seq) == (1, 3)
    assert stop != former and not set(others) & set(events)


def test_the_next_life_keeps_the_birth_of_the_first(desk: Desk) -> None:
    desk.redis.do_set(keys.RECONCILED, "1")
    former = lived(desk)
    desk.clock.now += 1_000
    desk.results.apply(result(ts=desk.clock.now, client_order_id="e2"), {})
    assert (desk.now().life, desk.now().born_ts) == (2, former.born_ts)
    desk.results.apply(result(ts=desk.clock.now, client_order_id="x2", kind="EXIT", side="SELL"), {})
    desk.governor.evaluate("p1")
    desk.relay.run()
    desk.clock.now += 2 * KEEP_MS
    desk.sweep.run()
    desk.store.history.clear()  # pruned: its trace in Redis is left
    desk.results.apply(result(ts=desk.clock.now, client_order_id="e3"), {})
    assert desk.now().born_ts == former.born_ts
