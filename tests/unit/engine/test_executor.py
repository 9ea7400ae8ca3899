"""Drive one operation: what S4 is asked and sent, in which order, and what is written down."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6 import keys
from s6.engine.executor import Progress
from s6.engine.operation import begin
from s6.locks import held_position
from s6.model.answers import CancelAnswer, Placed, Refused
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.wire import OrderResult
from s6.plan import Action
from s6.ports import LockLost, StateUnavailable
from tests.doubles.memory_redis import no_hook
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, result, stopped
from tests.unit.losses import lost

STEP = D("0.001")
MOVE = Action("STOP_MOVE", "TRAIL", D(1), D(39_300), D(39_500), target="SL-1", step=STEP)
FIRST = Action("STOP_MOVE", "FIRST", D(1), None, D(39_500), step=STEP)
TAKE = Action("TP_PARTIAL", "RUNG", D("0.4"), rungs=(0,), step=STEP)
EXIT = Action("EXIT", "OPERATOR", D(1), step=STEP)


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def begun(desk: Desk, held: Position, action: Action, **members: Any) -> Operation:
    """An operation that has just been written down."""
    after, op = begin(held, action, NOW)
    op = replace(op, **members)
    desk.put(after, op)
    return op


def told(name: str, kind: str, status: str, **fields: Any) -> OrderResult:
    filled: dict[str, Any] = {"filled_qty": "0", "avg_price": None, "leverage": None}
    type_ = "STOP_MARKET" if kind == "SL" else "MARKET"
    given = {"client_order_id": name, "kind": kind, "side": "SELL", "type": type_, "status": status, **filled}
    return result(**{**given, **fields})


def causes(desk: Desk) -> list[object]:
    """Phase and cause of every snapshot."""
    desk.relay.run()
    return [(doc["phase"], doc["cause"]) for doc in desk.store.history["p1"].values()]


# --- one move of a stop -------------------------------------------------------------------------------------------


def test_a_move_cancels_waits_and_places_for_what_is_held_then(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    assert desk.executor.advance("p1", op.op_id) == Progress("WAIT", 2_000, "AWAIT_CANCEL")
    assert desk.s4.sent == ["cancel SL-1"]
    desk.clock.now += 1_500
    assert desk.executor.advance("p1", op.op_id) == Progress("WAIT", 500, "AWAIT_CANCEL")
    desk.results.apply(told("SL-1", "SL", "PARTIALLY_FILLED", filled_qty="0.3", avg_price="39000"), {})
    desk.results.apply(told("SL-1", "SL", "CANCELED", filled_qty="0.3", avg_price="39000"), {})
    assert desk.hints.resumed == [op.op_id]
    assert desk.executor.advance("p1", op.op_id) == Progress("DONE")
    [order] = desk.s4.orders
    assert (order.client_order_id, order.qty, order.stop_px) == (op.client_order_id, D("0.7"), D(39_500))
    now = desk.now()
    assert (now.sl_order, now.sl_price, now.sl_qty, now.sl_ts) == (
        order.client_order_id,
        D(39_500),
        D("0.7"),
        NOW + 1_500,
    )
    assert desk.op() is None
    assert causes(desk)[-1] == ("AFTER", "STOP_MOVE success")
    assert desk.hints.evaluated == ["p1"]  # only by what the books say afterwards: the operation has ended


@pytest.mark.parametrize("status", ["CANCELED", "EXPIRED", "REJECTED"])
def test_a_stop_that_is_gone_already_is_replaced_at_once(desk: Desk, status: str) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    desk.s4.cancels = CancelAnswer(status)
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert desk.s4.sent == ["cancel SL-1", op.client_order_id]
    assert desk.s4.asked == []


@pytest.mark.parametrize("status", ["FILLED", "UNKNOWN", "REFUSED"])
def test_what_else_s4_says_of_a_cancel_is_looked_into(desk: Desk, status: str) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    desk.s4.cancels = CancelAnswer(status)
    desk.s4.has["SL-1"] = told("SL-1", "SL", "FILLED", filled_qty="1", avg_price="39000")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.sent, desk.s4.asked) == (["cancel SL-1"], ["SL-1"])
    assert (desk.now().status, desk.op()) == ("CLOSED", None)


def test_silence_about_a_cancel_is_ended_by_asking(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    desk.executor.advance("p1", op.op_id)
    desk.clock.now += 2_000
    desk.s4.has["SL-1"] = told("SL-1", "SL", "CANCELED")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert desk.s4.sent == ["cancel SL-1", op.client_order_id]


def test_where_s4_knows_no_such_stop_the_new_one_is_placed(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE, stage="CHECK")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.asked, desk.s4.sent) == (["SL-1"], [op.client_order_id])


def test_a_stop_that_lives_on_stays_and_the_move_waits(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE, stage="CHECK")
    desk.s4.has["SL-1"] = told("SL-1", "SL", "NEW")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    now = desk.now()
    assert (desk.s4.sent, desk.op(), now.sl_order, now.sl_price) == ([], None, "SL-1", D(39_300))
    assert now.sl_failures == 1
    assert now.sl_not_before == NOW + 100
    assert causes(desk)[-1] == ("AFTER", "STOP_MOVE kept")


def test_a_clean_up_ends_with_the_cancel(desk: Desk) -> None:
    op = begun(desk, stopped(39_300, status="CLOSED", qty=D(0)), Action("CLEANUP", "CLOSED", target="SL-1"))
    desk.s4.cancels = CancelAnswer("CANCELED")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.sent, desk.now().orders) == (["cancel SL-1"], ())


# --- placing ------------------------------------------------------------------------------------------------------


def test_an_order_is_written_down_before_it_is_sent(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), TAKE)
    seen: list[tuple[object, ...]] = []

    def look(order: Order) -> None:
        at, known = desk.op(), desk.state.seen_order("p1", order.client_order_id)
        seen.append((at is not None and at.order == order, known is not None and known.status))

    desk.s4.placing = look
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert seen == [(True, "PENDING")]
    assert [o.status for o in desk.now().orders] == ["NEW", "NEW"]


def test_what_the_results_tell_first_is_not_sent_again(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), TAKE)
    desk.s4.down = True
    assert desk.executor.advance("p1", op.op_id).kind == "WAIT"
    desk.results.apply(told(op.client_order_id, "TP", "NEW", qty="0.4"), {})
    desk.s4.down = False
    desk.clock.now += 10_000
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.sent, desk.s4.asked, desk.op()) == ([], [], None)


def frozen(desk: Desk, action: Action, *, age_ms: int, attempts: int = 1) -> Operation:
    """An operation whose order may have been sent: S4's answer was lost."""
    op = begun(desk, stopped(39_300), action)
    desk.s4.down = True
    desk.executor.advance("p1", op.op_id)
    desk.s4.down = False
    desk.clock.now += age_ms
    at = desk.op()
    assert at is not None and at.order is not None
    desk.write(desk.now(), replace(at, attempts=attempts, not_before=0))
    return op


def test_a_stale_order_is_asked_for_before_it_is_given_up(desk: Desk) -> None:
    """S4 may have taken it: giving it up unasked would send the same decision twice."""
    op = frozen(desk, TAKE, age_ms=300)
    desk.s4.has[op.client_order_id] = told(op.client_order_id, "TP", "NEW", qty="0.4")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.asked, desk.s4.sent) == ([op.client_order_id], [])
    [_, order] = desk.now().orders
    assert (order.client_order_id, order.status) == (op.client_order_id, "NEW")
    assert causes(desk)[-1] == ("AFTER", "TP_PARTIAL success")


@pytest.mark.parametrize("kind", ["TP_PARTIAL", "ADD", "RISK_DOWNGRADE"])
def test_a_stale_order_that_s4_never_saw_is_given_up(desk: Desk, kind: Any) -> None:
    op = frozen(desk, replace(TAKE, type=kind), age_ms=300)
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.asked, desk.s4.sent) == ([op.client_order_id], [])
    gone = desk.state.seen_order("p1", op.client_order_id)
    assert gone is not None and gone.status == "ABANDONED"
    assert [o.client_order_id for o in desk.now().orders] == ["SL-1"]
    assert causes(desk)[-1] == ("AFTER", f"{kind} abandoned")


@pytest.mark.parametrize(("age_ms", "attempts"), [(0, 0), (250, 0)])
def test_an_order_is_sent_unasked_right_after_its_decision(desk: Desk, age_ms: int, attempts: int) -> None:
    op = frozen(desk, TAKE, age_ms=age_ms, attempts=attempts)
    desk.executor.advance("p1", op.op_id)
    assert (desk.s4.asked, desk.s4.sent) == ([], [op.client_order_id])


@pytest.mark.parametrize("action", [FIRST, EXIT])
def test_what_protects_is_never_stale(desk: Desk, action: Action) -> None:
    op = frozen(desk, action, age_ms=600_000, attempts=9)
    desk.executor.advance("p1", op.op_id)
    assert (desk.s4.asked, desk.s4.sent) == ([], [op.client_order_id])


def test_under_an_id_that_s4_has_the_order_is_accepted(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), TAKE)
    desk.s4.answer = Refused("ID_CONFLICT")
    desk.s4.has[op.client_order_id] = told(op.client_order_id, "TP", "NEW", qty="0.4")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert causes(desk)[-1] == ("AFTER", "TP_PARTIAL success")


@pytest.mark.parametrize("reason", ["ID_CONFLICT", "PRICE_FILTER"])
def test_what_is_refused_is_held_off(desk: Desk, reason: str) -> None:
    op = begun(desk, stopped(39_300), TAKE)
    desk.s4.answer = Refused(reason)
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert causes(desk)[-1] == ("AFTER", "TP_PARTIAL refused")
    assert desk.s4.asked == ([op.client_order_id] if reason == "ID_CONFLICT" else [])
    assert (desk.now().hold_until, desk.now().hold_refusals) == (NOW + 100, 1)
    assert desk.alerts.raised == []


def test_a_stop_that_is_refused_goes_back_to_its_old_price(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE, stage="PLACE", target="")
    desk.s4.answer = Refused("PRICE_FILTER")

    def then_taken(order: Order) -> None:
        if len(desk.s4.orders) == 2:
            desk.s4.answer = Placed("NEW")

    desk.s4.placing = then_taken
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert [order.stop_px for order in desk.s4.orders] == [D(39_500), D(39_300)]
    now = desk.now()
    assert (now.sl_price, now.sl_order) == (D(39_300), desk.s4.sent[1])
    assert (now.sl_not_before, now.trail_not_before) == (0, NOW + 100)  # the new price is left alone for a while


# --- a life that is over ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_a_stop_of_a_life_that_ended_is_asked_for(desk: Desk, known: bool) -> None:
    op = frozen(desk, FIRST, age_ms=0)
    desk.write(replace(desk.now(), status="CLOSED", qty=D(0)), desk.op())
    if known:
        desk.s4.has[op.client_order_id] = told(op.client_order_id, "SL", "NEW")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.asked, desk.s4.sent) == ([op.client_order_id], [])
    assert ("AFTER", "STOP_MOVE closed" if known else "STOP_MOVE nothing_left") in causes(desk)


def test_any_other_order_of_a_life_that_ended_is_let_be(desk: Desk) -> None:
    op = frozen(desk, TAKE, age_ms=0)
    desk.write(replace(desk.now(), status="CLOSED", qty=D(0)), desk.op())
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.asked, desk.s4.sent) == ([], [])


def test_with_nothing_left_to_close_nothing_is_sent(desk: Desk) -> None:
    op = begun(desk, stopped(39_300, qty=D("0.0004")), EXIT)
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.sent, desk.op()) == ([], None)


# --- an S4 without an answer --------------------------------------------------------------------------------------


def test_without_an_answer_the_same_is_tried_again_later_and_later(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    desk.s4.down = True
    for attempt in range(8):
        progress = desk.executor.advance("p1", op.op_id)
        longest = min(100 * 2**attempt, 5_000)
        assert progress.kind == "WAIT" and progress.stage == "CANCEL"
        assert longest // 2 <= progress.wait_ms <= longest
        desk.clock.now += progress.wait_ms - 1
        assert desk.executor.advance("p1", op.op_id).wait_ms == 1  # too early: S4 isn't asked
        desk.clock.now += 1
        at = desk.op()
        assert at is not None and at.attempts == attempt + 1
        codes = [(a[0], a[1]) for a in desk.alerts.raised]
        assert codes == [("ERROR", "RETRIES_EXHAUSTED")] * (attempt + 1 >= 6)


def test_s4s_own_wish_to_wait_is_granted(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    desk.s4.down, desk.s4.retry_after_ms = True, 7_000
    assert desk.executor.advance("p1", op.op_id) == Progress("WAIT", 7_000, "CANCEL")


def test_without_a_bundle_the_usual_patience_applies(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    desk.rules.bundle = None
    assert desk.executor.advance("p1", op.op_id) == Progress("WAIT", 2_000, "AWAIT_CANCEL")


# --- beside others ------------------------------------------------------------------------------------------------


def test_another_operation_than_the_one_in_flight_needs_nothing(desk: Desk) -> None:
    begun(desk, stopped(39_300), MOVE)
    assert desk.executor.advance("p1", "1-99") == Progress("DONE")
    assert desk.executor.advance("p2", "1-1") == Progress("DONE")
    assert desk.s4.sent == []


def test_while_somebody_else_holds_the_lock_it_is_busy(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    desk.state.lock(*keys.position_lock("p1"))
    progress = desk.executor.advance("p1", op.op_id)
    assert progress.kind == "BUSY" and 25 <= progress.wait_ms < 50
    assert desk.s4.sent == []


def test_the_lock_is_given_back(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    desk.executor.advance("p1", op.op_id)
    assert desk.state.lock(*keys.position_lock("p1")) is not None


def test_the_lock_is_given_back_when_redis_fails_in_between(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE)

    def away(name: str, key: str, writes: bool) -> None:
        if name in ("evalsha", "script _commit"):
            raise StateUnavailable("away")

    desk.redis.hook = away
    with pytest.raises(StateUnavailable):
        desk.executor.advance("p1", op.op_id)
    desk.redis.hook = no_hook
    assert desk.state.lock(*keys.position_lock("p1")) is not None


def test_a_step_that_outlasts_its_lock_writes_nothing_and_says_so(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), TAKE)

    def slow(order: Order) -> None:
        desk.clock.now += 4_001
        desk.state.lock(*keys.position_lock("p1"))

    desk.s4.placing = slow
    assert desk.executor.advance("p1", op.op_id).kind == "BUSY"
    assert [(a[0], a[1], a[3]) for a in desk.alerts.raised] == [("FATAL", "LOCK_OVERRUN", "p1")]
    at = desk.op()
    assert at is not None and at.op_id == op.op_id


@pytest.mark.parametrize(("took_ms", "sent"), [(3_999, 1), (4_000, 0)])
def test_nothing_is_sent_once_the_lock_may_have_expired(desk: Desk, took_ms: int, sent: int) -> None:
    op = begun(desk, stopped(39_300), MOVE)
    with held_position(desk.state, desk.alerts, desk.clock, "p1") as held:
        desk.clock.now += took_ms
        with pytest.raises(LockLost) if not sent else nullcontext():
            desk.executor.under_lock(held, op.op_id)
    assert len(desk.s4.sent) == sent
    assert (desk.op() == op) == (not sent)


def test_a_result_that_is_booked_meanwhile_is_kept(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), TAKE)

    def filled(order: Order) -> None:
        told_now = told(order.client_order_id, "TP", "FILLED", qty="0.4", filled_qty="0.4", avg_price="41000")
        desk.results.apply(told_now, {})

    desk.s4.placing = filled
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    now = desk.now()
    assert (now.qty, [o.client_order_id for o in now.orders]) == (D("0.6"), ["SL-1"])
    assert desk.s4.sent == [op.client_order_id]
    assert ("AFTER", "TP_PARTIAL success") in causes(desk)


def test_how_long_a_tick_took_to_an_order_is_measured_once(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE, tick_ts=NOW - 250)
    desk.executor.advance("p1", op.op_id)
    again = begun(desk, stopped(39_300, position_id="p2"), MOVE, tick_ts=NOW - 100, attempts=1)
    desk.executor.advance("p2", again.op_id)
    seen = [value for verb, name, value, _ in desk.metrics.samples if name == "s6_reaction_seconds"]
    assert seen == [0.25]


def test_an_operation_in_flight_is_held_while_s4_may_know_more(desk: Desk) -> None:
    held, op = begin(lost(), EXIT, NOW - 60_000)
    desk.put(held, op)
    outcome = desk.governor.evaluate("p1")
    assert (outcome.kind, outcome.unverified, desk.hints.driven) == ("IN_FLIGHT", True, [])
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.sent, desk.op(), desk.hints.evaluated) == ([], op, ["p1"])  # the hint verifies it
    desk.reconciler.verify("p1")
    desk.governor.evaluate("p1")
    assert desk.hints.driven == [op.op_id]
    desk.executor.advance("p1", op.op_id)
    assert desk.s4.sent == [op.client_order_id]


def test_what_s4_says_is_booked_even_where_it_contradicts(desk: Desk) -> None:
    op = begun(desk, stopped(39_300), MOVE, stage="CHECK")
    desk.s4.has["SL-1"] = told("SL-1", "SL", "FILLED", side="BUY", filled_qty="1", avg_price="39000")
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert [(a[0], a[1]) for a in desk.alerts.raised] == [("ERROR", "RECONCILE")]
    assert (desk.now().qty, desk.s4.sent) == (D(1), [])
