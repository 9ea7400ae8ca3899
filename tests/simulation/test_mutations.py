"""The simulation judged: bugs planted one at a time must each be found, and soon.

A mutation patches the running code. Each is looked for with a profile that suits it, so that few seeds are enough; the
same seeds find nothing in the code as it is (``test_the_code_as_it_is_is_innocent``).
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from s6.adapters import redis_outbox
from s6.adapters.redis_state import RedisState
from s6.booking import books
from s6.engine import executor, results, transitions
from s6.engine.executor import Executor
from s6.engine.outbox_relay import OutboxRelay
from s6.engine.recorder import Change, Drawn, Recorder
from s6.engine.results import Applied
from s6.engine.results_batch import ResultsBatch, Told
from s6.locks import HeldPosition
from s6.model import documents
from s6.model.commit import Commit
from s6.model.position import Position
from s6.plan import Plan, build, stop
from s6.recovery import cold_start, rebuilder
from s6.recovery.rebuilder import Rebuilder
from s6.recovery.reconciler import Reconciler
from tests.doubles.memory_redis import MemoryRedis
from tests.simulation.planting import Patch, Planting, innocent
from tests.simulation.profile import Profile

CROWD = Profile(
    every_gap=4, double_hint=0.4, double_result=0.5, late_result=0.2, double_call=0.2, copies=True, partial=0.7
)
PLAIN = Profile(every_gap=10, partial=0.7)
TROUBLE = Profile(every_gap=8, every_crash=80, every_loss=120, lose_call=0.2, crash_call=0.1, partial=0.5, copies=True)
ODD = Profile(every_gap=10, odd_cancel=0.5, refuse=0.15, partial=0.7, late_result=0.2)
LOST = Profile(every_gap=8, wipe=True, partial=0.5, odd_cancel=0.2, copies=True, late_result=0.1)
EMPTIED = Profile(every_gap=10, wipe=True, lose_call=0.3)
BEHIND = Profile(every_gap=8, failover=True, partial=0.5, odd_cancel=0.2, copies=True, late_result=0.1)
HELD_UP = Profile(every_gap=5, every_pause=150, partial=0.7, double_hint=0.3, copies=True)
REFUSED = Profile(every_gap=10, every_crash=30, refuse=0.9, partial=0.7, double_result=0.2)

PROFILES = {
    "crowd": CROWD,
    "trouble": TROUBLE,
    "odd": ODD,
    "held-up": HELD_UP,
    "refused": REFUSED,
    "lost": LOST,
    "behind": BEHIND,
    "emptied": EMPTIED,
}
planting = Planting()
planted = planting.planted


@planted(CROWD)
def writes_are_not_fenced_by_rev(patch: Patch) -> None:
    commit = MemoryRedis._commit

    def unfenced(self: MemoryRedis, keys: list[str], args: list[str]) -> int:
        rev = self.do_hget(keys[1], "rev") or "0"
        return commit(self, keys, [args[0], rev, args[2]])

    patch.setattr(MemoryRedis, "_commit", unfenced)


@planted(TROUBLE)
def ids_are_not_deterministic(patch: Patch) -> None:
    numbers = itertools.count()
    place = executor.Executor._place

    def fresh(self: Executor, position: Position, op: Any, held: HeldPosition, now: int) -> object:
        if op.order is not None and op.attempts:
            op = replace(op, order=replace(op.order, client_order_id=f"Y-{next(numbers)}"))
        return place(self, position, op, held, now)

    patch.setattr(executor.Executor, "_place", fresh)


@planted(CROWD)
def resizing_is_forgotten(patch: Patch) -> None:
    real = stop._why_move
    patch.setattr(stop, "_why_move", lambda *args: "" if real(*args) == "RESIZE" else real(*args))


@planted(ODD)
def the_new_stop_is_placed_before_the_cancels_outcome(patch: Patch) -> None:
    patch.setattr(transitions, "cancel_pending", lambda p, op, wait, now: transitions.cancel_confirmed(p, op, now))


@planted(PLAIN)
def quotas_are_given_back_twice(patch: Patch) -> None:
    numbers = itertools.count()
    real = redis_outbox.RedisOutbox._count

    def twice(self: Any, counter: str, move_id: str, delta: Any, ts: int) -> None:
        for _ in range(2):
            real(self, counter, f"{move_id}-{next(numbers)}", delta, ts)

    patch.setattr(redis_outbox.RedisOutbox, "_count", twice)


@planted(CROWD)
def an_event_is_lost(patch: Patch) -> None:
    real = documents.event

    def some(position: Position, type_: str, *args: Any) -> dict[str, str]:
        return real(position, "STAGNATED" if type_ == "TP_PARTIAL" else type_, *args)

    patch.setattr(books, "event", some)


@planted(CROWD)
def rungs_are_armed_again(patch: Patch) -> None:
    real = books.book

    def forgetful(*args: Any, **kwargs: Any) -> object:
        booked = real(*args, **kwargs)
        return booked and replace(booked, position=replace(booked.position, tp_done=()))

    patch.setattr(results, "book", forgetful)


@planted(CROWD)
def duplicates_are_booked_twice(patch: Patch) -> None:
    patch.setattr(results, "_known", lambda position, result, books: (result, None))


@planted(CROWD)
def nothing_is_cleaned_up_after_a_close(patch: Patch) -> None:
    patch.setattr(build, "_cleanup", lambda p, now: Plan(p))


@planted(TROUBLE)
def a_retry_bears_new_ids(patch: Patch) -> None:
    real = transitions.postponed

    def renamed(p: Position, op: Any, *args: Any) -> object:
        step = real(p, op, *args)
        if step.op is None or step.op.order is None:
            return step
        order = replace(step.op.order, client_order_id=step.op.order.client_order_id[:30] + f"r{step.op.attempts}")
        return replace(step, op=replace(step.op, order=order, client_order_id=order.client_order_id))

    patch.setattr(transitions, "postponed", renamed)


@planted(CROWD)
def stops_may_loosen(patch: Patch) -> None:
    real = stop._decide

    def loose(case: Any, k: Any, mark: Any) -> object:
        return real(replace(case, p=replace(case.p, sl_price=None)), k, mark)

    patch.setattr(stop, "_decide", loose)


@planted(CROWD)
def late_results_are_ignored(patch: Patch) -> None:
    real = ResultsBatch.apply

    def only_new(self: ResultsBatch, told: list[Told]) -> list[Applied | Exception]:
        since = self.results._clock.now_ms() - 25
        outcomes = iter(real(self, [each for each in told if each.result.ts >= since]))
        return [next(outcomes) if each.result.ts >= since else "IGNORED" for each in told]

    patch.setattr(ResultsBatch, "apply", only_new)


@planted(CROWD)
def one_signal_adds_twice(patch: Patch) -> None:
    patch.setattr(Position, "with_signal", lambda self, signal_id: self)


@planted(HELD_UP)
def late_holders_of_a_lock_may_write(patch: Patch) -> None:
    real = RedisState.commit
    load = RedisState.load

    def careless(self: RedisState, change: Commit) -> Position | None:
        now = load(self, change.position.position_id)
        rev = now.position.rev if now else 0
        return real(self, replace(change, token="", position=replace(change.position, rev=rev)))

    patch.setattr(RedisState, "commit", careless)


@planted(TROUBLE)
def a_snapshot_is_taken_off_that_the_store_never_got(patch: Patch) -> None:
    real = OutboxRelay._write

    def early(self: OutboxRelay, docs: Any) -> None:
        real(self, docs[1:] if len(docs) > 3 else docs)

    patch.setattr(OutboxRelay, "_write", early)


@planted(CROWD)
def closing_orders_in_flight_are_not_counted(patch: Patch) -> None:
    patch.setattr(Position, "closing_in_flight", 0)


@planted(ODD)
def a_refused_cancel_counts_as_done(patch: Patch) -> None:
    patch.setattr(transitions, "unclear", lambda p, op: transitions.cancel_confirmed(p, op, 1))


@planted(REFUSED)
def alerts_are_told_after_the_commit(patch: Patch) -> None:
    drawn, stands = Change.drawn, Recorder._stands
    alerts: dict[int, Any] = {}  # by the commit

    def without(self: Change) -> Any:
        found = drawn(replace(self, alerts=()))
        alerts[id(found.commit)] = self.alerts
        return found

    def late(self: Recorder, found: Drawn) -> None:
        stands(self, found)
        self.publish(found.commit.position.position_id, alerts[id(found.commit)])

    patch.setattr(Change, "drawn", without)
    patch.setattr(Recorder, "_stands", late)


@planted(LOST)
def rebuilt_positions_are_governed_unverified(patch: Patch) -> None:
    real = Rebuilder._resumed
    patch.setattr(Rebuilder, "_resumed", lambda *args: replace(real(*args), unverified_from=0))


@planted(LOST)
def what_was_sent_unrecorded_is_not_looked_for(patch: Patch) -> None:
    patch.setattr(Reconciler, "_unrecorded", lambda self, p, answers: [])


@planted(LOST)
def an_operation_goes_on_whatever_became_of_it(patch: Patch) -> None:
    patch.setattr(Reconciler, "_in_flight", lambda self, loaded, sent: 0)


@planted(LOST)
def lost_counters_stay_lost(patch: Patch) -> None:
    patch.setattr(rebuilder, "_share", lambda p: [])


@planted(BEHIND)
def a_stale_position_is_believed(patch: Patch) -> None:
    """What the store contradicts is asked about as well, and finds most of it: so that must not be, either."""
    patch.setattr(cold_start, "is_behind", lambda live, latest: False)
    patch.setattr(Reconciler, "doubt", lambda reconciler, position_id, number: None)


@pytest.mark.parametrize("name", planting.names)
def test_a_planted_bug_is_found(name: str, monkeypatch: Patch) -> None:
    planting.is_found(name, monkeypatch)


@pytest.mark.parametrize("profile", list(PROFILES.values()), ids=list(PROFILES))
def test_the_code_as_it_is_is_innocent(profile: Profile) -> None:
    innocent(profile)
