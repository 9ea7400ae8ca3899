"""What nobody expects is borne: bugs in how S6 bears it are each found, and soon."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from s6.adapters.rests import Rests
from s6.adapters.s4 import S4Orders
from s6.booking import books, fills, reducing
from s6.engine import commands, executor, refusals, results, transitions
from s6.engine.governor import Governor
from s6.engine.step import Step
from s6.model import order_figures
from s6.model.answers import Placed, Refused
from s6.model.position import Order, Position
from s6.plan import scaling, terms
from s6.plan.context import PlanContext
from s6.plan.terms import Terms
from s6.ports import UnexpectedAnswer
from tests.simulation.planting import Patch, Planting, innocent
from tests.simulation.profile import Profile

ODD = Profile(odd=0.5, figures=True, partial=0.7)
ODD_WORDS = Profile(odd=0.7, odd_cancel=0.6, lose_call=0.2)
FOREIGN = Profile(foreign=True, partial=0.7, double_result=0.3, crowd=2)
NO_EXIT = Profile(spell="EXIT", partial=0.5, meddling=True, refuse=0.1, crowd=3)
NO_BETTER = Profile(spell="BETTER", trend=1, bundle=1, crowd=2)
MISSING = Profile(spell="MISSING", partial=0.5, crowd=2)
EXPIRY = Profile(spell="EXPIRY", partial=0.3, crowd=2)
INGRESS = Profile(spell="INGRESS", partial=0.5, crowd=2)
REST = Profile(long_rest=True, partial=0.5, crowd=3)
SET_BACK = Profile(set_back=True, s4_down=True, partial=0.5, crowd=3)
GONE = Profile(terms="GONE", foreign=True, partial=0.7, crowd=3)
GONE_RALLY = Profile(terms="GONE", partial=0.5, crowd=4, trend=1)
STEP = Profile(terms="STEP", foreign=True, partial=0.7, crowd=3)
LADDER = Profile(terms="LADDER", partial=0.3, crowd=4, trend=1)
GIVEN_UP = Profile(deaf=0.6, meddling=True, lose_call=0.5, crowd=4, trend=1)
OLD_SIGNALS = Profile(old_signal=0.8, crowd=4, trend=1)
MEDDLING = Profile(meddling=True, lose_call=0.5, crowd=4, trend=1)
WRITE_OFFS = Profile(meddling=True, foreign=True, late_result=0.6, crowd=2)
PROFILES = {
    "odd": ODD,
    "odd-words": ODD_WORDS,
    "foreign": FOREIGN,
    "no-exit": NO_EXIT,
    "no-better": NO_BETTER,
    "missing": MISSING,
    "expiry": EXPIRY,
    "ingress": INGRESS,
    "rest": REST,
    "set-back": SET_BACK,
    "gone": GONE,
    "gone-rally": GONE_RALLY,
    "step": STEP,
    "ladder": LADDER,
    "given-up": GIVEN_UP,
    "old-signals": OLD_SIGNALS,
    "meddling": MEDDLING,
    "write-offs": WRITE_OFFS,
}
planting = Planting()
planted = planting.planted


@planted(ODD)
def what_is_filled_beyond_the_order_is_cut(patch: Patch) -> None:
    patch.setattr(fills, "_filled", lambda result, step: min(result.filled_qty, result.qty))


@planted(ODD)
def rounding_counts_as_a_fill(patch: Patch) -> None:
    patch.setattr(fills, "_filled", lambda result, step: result.filled_qty)


@planted(ODD)
def a_fill_without_a_price_is_lost(patch: Patch) -> None:
    patch.setattr(books, "_fallback", lambda order, position, mark: Decimal(0))


@planted(ODD)
def figures_that_cannot_be_are_not_told_of(patch: Patch) -> None:
    patch.setattr(books, "_odd", lambda result, fill: ())


@planted(ODD_WORDS)
def words_of_s4s_own_are_not_understood(patch: Patch) -> None:
    patch.setattr(order_figures, "_status", lambda found: None)


@planted(FOREIGN)
def orders_of_others_are_known_by_their_client_id_alone(patch: Patch) -> None:
    patch.setattr(results, "named", lambda result, known: result)


@planted(NO_EXIT)
def a_refused_exit_is_sent_again_at_once(patch: Patch) -> None:
    patch.setattr(refusals, "pause_ms", lambda failures, retry: 1)


@planted(NO_EXIT)
def refusals_without_end_are_not_told_of(patch: Patch) -> None:
    patch.setattr(refusals, "_once", lambda failures, retry, said: ())


@planted(NO_BETTER)
def a_better_price_is_asked_for_without_a_pause(patch: Patch) -> None:
    patch.setattr(refusals, "better_price_refused", lambda p, retry, now: (p, ()))


@planted(MISSING)
def what_s4_does_not_hold_is_refused_like_anything_else(patch: Patch) -> None:
    patch.setattr(refusals, "MISSING", "ANOTHER_WORD")


@planted(EXPIRY)
def stops_that_s4_ends_are_placed_for_ever(patch: Patch) -> None:
    real = refusals.stop_lost
    patch.setattr(refusals, "stop_lost", lambda p, *args: real(replace(p, sl_losses=0), *args))


@planted(INGRESS)
def any_4xx_is_a_refusal(patch: Patch) -> None:
    real = S4Orders.place

    def place(self: S4Orders, position: Position, order: Order) -> Placed | Refused:
        try:
            return real(self, position, order)
        except UnexpectedAnswer:
            return Refused("HTTP_404")

    patch.setattr(S4Orders, "place", place)


@planted(INGRESS)
def an_ingress_out_of_order_is_not_told_of(patch: Patch) -> None:
    patch.setattr(executor, "_about", lambda op, error: ())


@planted(REST)
def a_day_of_rest_is_granted(patch: Patch) -> None:
    patch.setattr(executor, "LONGEST_MS", 10**9)


@planted(REST)
def a_question_knows_no_rest(patch: Patch) -> None:
    patch.setattr(Rests, "_note", lambda self, key, rest_ms: None)


@planted(GIVEN_UP)
def an_order_that_was_given_up_stays_expired(patch: Patch) -> None:
    real = transitions.abandoned

    def ended(*args: Any) -> Step:
        step = real(*args)
        return replace(step, orders=tuple(replace(order, status="EXPIRED") for order in step.orders))

    patch.setattr(transitions, "abandoned", ended)


@planted(SET_BACK)
def what_waits_waits_for_the_clock(patch: Patch) -> None:
    patch.setattr(executor, "left_ms", lambda at, now, longest: max(at - now, 0))


@planted(GONE)
def who_leaves_the_bundle_is_on_its_own(patch: Patch) -> None:
    patch.setattr(terms, "last_terms", lambda p: None)


@planted(GONE_RALLY)
def former_terms_go_on_for_adds_and_profits(patch: Patch) -> None:
    real = terms.terms_of

    def current(*args: Any) -> Terms | None:
        found = real(*args)
        return found and replace(found, current=True)

    patch.setattr("s6.plan.build.terms_of", current)


@planted(STEP)
def a_raised_step_makes_dust_of_what_is_held(patch: Patch) -> None:
    patch.setattr(reducing, "_is_dust", lambda left, before, step: step is not None and left < step)


@planted(LADDER)
def a_new_ladder_takes_profits_again(patch: Patch) -> None:
    patch.setattr(terms, "rungs_done", lambda ladder, taken: ())


@planted(OLD_SIGNALS)
def a_signal_from_before_the_first_fill_adds(patch: Patch) -> None:
    real = scaling.add

    def add(context: PlanContext) -> object:
        return real(replace(context, p=replace(context.p, opened_ts=0)))

    patch.setattr(scaling, "add", add)


@planted(MEDDLING)
def an_add_that_waits_has_no_second_thought(patch: Patch) -> None:
    patch.setattr(Governor, "still_wanted", lambda self, position, op: True)
    patch.setattr("s6.engine.governor.same_decision", lambda action, op: True)
    patch.setattr("s6.engine.governor.overtakes", lambda action, p, op: False)


@planted(WRITE_OFFS)
def a_write_off_keeps_its_margin(patch: Patch) -> None:
    real = books.write_off
    patch.setattr(commands, "write_off", lambda *args: replace(real(*args), quotas=()))


@pytest.mark.parametrize("name", planting.names)
def test_a_planted_bug_is_found(name: str, monkeypatch: Patch) -> None:
    planting.is_found(name, monkeypatch)


@pytest.mark.parametrize("profile", list(PROFILES.values()), ids=list(PROFILES))
def test_the_code_as_it_is_is_innocent(profile: Profile) -> None:
    innocent(profile)
