"""The judge holds every limit of the bundle: bugs that overstep one are each found, and soon."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from s6 import rules
from s6.adapters.redis_state import RedisState
from s6.booking import books, reducing
from s6.engine import recorder, transitions
from s6.engine.executor import Executor
from s6.engine.recorder import Change
from s6.model.commit import Commit
from s6.model.position import Position
from s6.plan import build, closing, stop
from s6.treasury.opening import Opening
from tests.simulation.planting import Patch, Planting, innocent
from tests.simulation.profile import Profile

PLAIN = Profile(partial=0.7)
REFUSED = Profile(refuse=0.6, partial=0.5)
DEAF = Profile(partial=0.5, deaf=0.6)
SKEWED = Profile(every_gap=5, partial=0.7, skew=2_000)
RALLY = Profile(partial=0.5, slow_fill=0.8, crowd=4, trend=1)
SCARCE = Profile(partial=0.5, crowd=4, trend=1, bundle=3)
SLUMP = Profile(partial=0.7, crowd=2, trend=-1)
STEADY = Profile(partial=0.3, trend=1, bundle=2)
PROFILES = {
    "steady": STEADY,
    "rally": RALLY,
    "scarce": SCARCE,
    "slump": SLUMP,
    "plain": PLAIN,
    "refused": REFUSED,
    "deaf": DEAF,
    "skewed": SKEWED,
}
planting = Planting()
planted = planting.planted


@planted(RALLY)
def an_add_frees_its_place_when_it_is_written(patch: Patch) -> None:
    real = RedisState.commit

    def early(self: RedisState, change: Commit) -> Position | None:
        written = real(self, change)
        for order in change.orders:
            if order.kind == "ADD":
                self.release_add(change.position.position_id, order.client_order_id)
        return written

    patch.setattr(RedisState, "commit", early)


@planted(RALLY)
def adds_at_work_are_not_counted(patch: Patch) -> None:
    patch.setattr(RedisState, "reserve_add", lambda *args, **kwargs: True)


@planted(SCARCE)
def the_budget_is_not_asked(patch: Patch) -> None:
    patch.setattr(RedisState, "quota", lambda self, key: Decimal(0))


@planted(PLAIN)
def adds_know_no_cap(patch: Patch) -> None:
    real = rules.add_on_decision
    patch.setattr(rules, "add_on_decision", lambda **given: real(**{**given, "add_on_count": 0}))


@planted(SCARCE)
def adds_know_no_eta(patch: Patch) -> None:
    real = rules.add_on_decision
    patch.setattr(rules, "add_on_decision", lambda **given: real(**{**given, "added_qty": Decimal(0)}))


@planted(PLAIN)
def adds_need_no_gate(patch: Patch) -> None:
    real = rules.add_on_decision
    patch.setattr(rules, "add_on_decision", lambda **given: real(**{**given, "gate": Decimal(-9)}))


@planted(SLUMP)
def every_partial_fill_counts_as_a_reduction(patch: Patch) -> None:
    real = reducing.reduced

    def each(booking: Any, fill: Any, *args: Any) -> object:
        booked = real(booking, fill, *args)
        again = booking.order.kind == "REDUCE" and fill.filled != fill.qty
        return replace(booked, position=replace(booked.position, reduces=booked.position.reduces + again))

    patch.setattr(books, "reduced", each)


@planted(SLUMP)
def reductions_know_no_end(patch: Patch) -> None:
    real = closing.downgrade
    patch.setattr(closing, "downgrade", lambda c: real(replace(c, p=replace(c.p, reduces=0))))


@planted(SLUMP)
def reductions_do_not_cool_down(patch: Patch) -> None:
    real = closing.downgrade
    patch.setattr(closing, "downgrade", lambda c: real(replace(c, p=replace(c.p, reduce_ts=0))))


@planted(SLUMP)
def a_reduction_takes_too_much(patch: Patch) -> None:
    real = rules.reduce_decision
    patch.setattr(rules, "reduce_decision", lambda **given: real(**{**given, "fraction": Decimal("0.9")}))


@planted(PLAIN)
def a_rung_takes_a_fraction_of_another(patch: Patch) -> None:
    real = rules.tp_ladder_decision

    def other(**given: Any) -> object:
        ladder = [replace_rung(rung) for rung in given["ladder"]]
        return real(**{**given, "ladder": ladder})

    def replace_rung(rung: Any) -> Any:
        return rung.model_copy(update={"fraction": Decimal("0.6")})

    patch.setattr(rules, "tp_ladder_decision", other)


@planted(STEADY)
def moves_may_be_small(patch: Patch) -> None:
    real = stop._why_move

    def eager(context: Any, decision: Any, price: Decimal, guard: bool) -> str:
        why = real(context, decision, price, guard)
        p = context.p
        stays = why or p.paused or p.sl_price is None or price == p.sl_price or guard or p.live_stop is None
        return why if stays else "TRAIL"

    patch.setattr(stop, "_why_move", eager)


@planted(STEADY)
def moves_may_follow_at_once(patch: Patch) -> None:
    patch.setattr(stop, "_move_waits", lambda context, why: max(0, context.p.sl_not_before - context.now))


@planted(REFUSED)
def a_refused_exit_is_begun_again_without_its_pause(patch: Patch) -> None:
    real = build._acting
    patch.setattr(build, "_acting", lambda c, *args: real(replace(c, p=replace(c.p, exit_not_before=0)), *args))


@planted(DEAF)
def a_stale_order_is_given_up_without_asking(patch: Patch) -> None:
    def hasty(self: Executor, position: Position, op: Any, order: Any, token: str) -> object:
        return self._write(position, op, token, lambda p, _: transitions.abandoned(p, op))

    patch.setattr(Executor, "_drop", hasty)


@planted(SKEWED)
def snapshots_times_run_back(patch: Patch) -> None:
    patch.setattr(recorder, "max", lambda now, ts: now, raising=False)


@planted(PLAIN)
def a_closed_position_keeps_its_stop(patch: Patch) -> None:
    drawn = Change.drawn

    def kept(self: Change) -> Any:
        position = self.position
        if not position.is_open and not position.sl_order and position.sl_price is not None:
            position = replace(position, sl_order="SL-kept")
        return drawn(replace(self, position=position))

    patch.setattr(Change, "drawn", kept)


@planted(PLAIN)
def transfers_know_no_limit(patch: Patch) -> None:
    real = rules.transfer_need
    patch.setattr(rules, "transfer_need", lambda **given: real(**{**given, "max_transfer": Decimal(9_000)}))


@planted(PLAIN)
def the_treasury_does_not_cool_down(patch: Patch) -> None:
    patch.setattr(Opening, "_refuse_too_soon", lambda self, newest, cooldown_ms: None)


@pytest.mark.parametrize("name", planting.names)
def test_a_planted_bug_is_found(name: str, monkeypatch: Patch) -> None:
    planting.is_found(name, monkeypatch)


@pytest.mark.parametrize("profile", list(PROFILES.values()), ids=list(PROFILES))
def test_the_code_as_it_is_is_innocent(profile: Profile) -> None:
    innocent(profile)
