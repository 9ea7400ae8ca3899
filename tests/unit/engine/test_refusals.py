"""The policy of refusals: what is tried again, when, what people hear, and when it is given up."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.engine.evaluation import Evaluation
from s6.engine.operation import begin
from s6.engine.refusals import pause_ms, stop_lost
from s6.model.answers import Placed, Refused
from s6.model.bundle import Retry
from s6.model.market import Tick
from s6.model.wire import OrderResult
from s6.plan import Action
from s6.ports import UnexpectedAnswer
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, result, stopped


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def market(desk: Desk, mark: int) -> None:
    desk.state.put_tick("BTCUSDT", Tick(desk.clock.now, D(mark), D(mark), D(mark)))


def evaluate(desk: Desk) -> None:
    known = Evaluation(desk.governor, desk.executor, desk.reconciler)
    known.run("p1", lambda name, op, progress: None)


def live(desk: Desk, ms: int, every: int = 50) -> None:
    """Let time pass, evaluating often."""
    for _ in range(0, ms, every):
        desk.clock.now += every
        market(desk, int(desk.now().mark))
        evaluate(desk)
        op = desk.op()
        if op is not None:
            desk.executor.advance("p1", op.op_id)


def codes(desk: Desk) -> list[tuple[str, str]]:
    return [(a[0], a[1]) for a in desk.alerts.raised]


def told(name: str, status: str, kind: str = "SL", **fields: Any) -> OrderResult:
    given: dict[str, Any] = {"filled_qty": "0", "avg_price": None, "leverage": None, **fields}
    type_ = "STOP_MARKET" if kind == "SL" else "MARKET"
    return result(kind=kind, side="SELL", type=type_, client_order_id=name, status=status, ts=NOW + 1, **given)


def test_pauses_double_up_to_a_minute() -> None:
    assert [pause_ms(n, Retry()) for n in (1, 2, 3, 10, 11, 99)] == [100, 200, 400, 51_200, 60_000, 60_000]


def test_an_exit_that_is_refused_for_ever_is_asked_for_after_pauses_and_said_once(desk: Desk) -> None:
    desk.put(stopped(39_200, exit_reason="OPERATOR"))
    market(desk, 40_000)
    desk.s4.answer = Refused("MIN_NOTIONAL")
    evaluate(desk)
    live(desk, 600_000, every=1_000)
    assert len(desk.s4.orders) < 25
    gap = desk.now().exit_not_before - desk.clock.now
    assert 0 < gap <= 60_000 and desk.now().exit_refusals >= 10
    assert codes(desk) == [("ERROR", "ORDER_REFUSED")]


def test_a_stop_that_s4_expires_each_time_leads_to_an_exit_and_a_fatal(desk: Desk) -> None:
    desk.put(position())
    market(desk, 40_000)
    evaluate(desk)
    for _ in range(6):
        assert desk.now().exit_reason == ""
        desk.results.apply(told(desk.now().sl_order, "EXPIRED"), {})
        live(desk, 2_000)
    assert [o.kind for o in desk.s4.orders] == ["SL"] * 6 + ["EXIT"]
    assert desk.now().exit_reason == "STOP_LOST"
    assert codes(desk).count(("FATAL", "STOP_MOVE_FAILED")) == 1


def test_a_position_that_leaves_for_its_lost_stops_says_so_once(desk: Desk) -> None:
    desk.put(stopped(39_200, sl_losses=Retry().attempts, exit_reason="STOP_LOST"))
    desk.results.apply(told("SL-1", "EXPIRED"), {})  # one more, which was late
    assert (desk.now().sl_losses, codes(desk)) == (Retry().attempts + 1, [("WARN", "STOP_LOST")])


def test_a_position_that_leaves_for_its_refused_stops_says_so_once(desk: Desk) -> None:
    """The word on the first of two refused stops comes last."""
    leaving = {"sl_order": "", "sl_qty": D(0), "sl_refusals": 2, "exit_reason": "STOP_REFUSED"}
    desk.put(stopped(39_200, **leaving))
    desk.results.apply(told("SL-1", "REJECTED", reason="RISK_LIMIT"), {})
    assert (desk.now().exit_reason, codes(desk)) == ("STOP_REFUSED", [])


def test_a_lost_stop_is_placed_again_at_once_the_first_time(desk: Desk) -> None:
    desk.put(stopped(39_200))
    market(desk, 40_000)
    desk.results.apply(told("SL-1", "CANCELED"), {})
    evaluate(desk)
    assert [(o.kind, o.stop_px) for o in desk.s4.orders] == [("SL", D(39_200))]
    assert desk.now().sl_losses == 1
    desk.results.apply(told(desk.now().sl_order, "CANCELED"), {})
    evaluate(desk)
    assert len(desk.s4.orders) == 1  # after a pause


def test_a_cancel_that_comes_late_each_time_is_no_loss_of_the_stop(desk: Desk) -> None:
    """S4 needs 3 s for a cancel, and shows the stop as resting meanwhile: S6 asked for it, S4 ended nothing."""
    desk.put(stopped(39_000, terms=desk.terms()))
    market(desk, 40_000)
    for number in range(10):
        market(desk, 40_000 + 50 * number)
        desk.rules.bundle = bundle(fut={"stop": {"fallback_pct": f"0.0{19 - number}"}})
        evaluate(desk)
        op = desk.op()
        assert op is not None and op.stage == "AWAIT_CANCEL"
        desk.s4.has[op.target] = told(op.target, "NEW")
        desk.clock.now += 2_000
        desk.executor.advance("p1", op.op_id)
        assert desk.op() is None and desk.now().sl_order == op.target
        desk.clock.now += 1_000
        desk.results.apply(told(op.target, "CANCELED"), {})
        evaluate(desk)
        assert desk.now().sl_order not in ("", op.target)
        desk.clock.now += 1_000
    assert {order.kind for order in desk.s4.orders} == {"SL"}
    assert (desk.now().exit_reason, desk.now().sl_losses) == ("", 0)
    assert [code for code in codes(desk) if code[1] in ("STOP_LOST", "STOP_MOVE_FAILED")] == []


def test_a_stop_whose_cancel_s4_refused_and_that_it_ends_afterwards_is_lost(desk: Desk) -> None:
    desk.put(stopped(39_000, terms=desk.terms()))
    market(desk, 40_000)
    evaluate(desk)
    op = desk.op()
    assert op is not None and op.stage == "AWAIT_CANCEL"
    desk.s4.has["SL-1"] = told("SL-1", "NEW")
    desk.results.apply(told("SL-1", "CANCEL_REJECTED"), {})
    desk.executor.advance("p1", op.op_id)
    desk.results.apply(told("SL-1", "CANCELED"), {})
    assert (desk.now().sl_losses, codes(desk)) == (1, [("WARN", "STOP_LOST")])


def test_the_good_stop_stands_while_a_better_price_is_refused(desk: Desk) -> None:
    desk.put(stopped(39_000))
    market(desk, 40_000)
    better = D(39_200)
    desk.s4.placing = lambda order: setattr(
        desk.s4, "answer", Refused("PRICE_FILTER") if order.stop_px == better else Placed("NEW")
    )
    cancels: list[int] = []
    for _ in range(1_200):
        desk.clock.now += 100
        market(desk, 40_000)
        evaluate(desk)
        op = desk.op()
        if op is not None and op.stage == "AWAIT_CANCEL":
            cancels.append(desk.clock.now)
            desk.results.apply(told(op.target, "CANCELED"), {})
            desk.executor.advance("p1", op.op_id)
    assert 5 <= len(cancels) <= 12
    assert cancels[-1] - cancels[-2] > 25_000
    assert codes(desk).count(("ERROR", "ORDER_REFUSED")) == 1
    assert (desk.now().sl_price, desk.now().live_stop is not None) == (D(39_000), True)


def test_what_s4_has_no_more_is_missed_once_and_asked_for_each_minute(desk: Desk) -> None:
    desk.put(stopped(39_200, exit_reason="OPERATOR"))
    market(desk, 40_000)
    desk.s4.answer = Refused("NOTHING_LEFT")
    evaluate(desk)
    live(desk, 9_000, every=1_000)
    assert (len(desk.s4.orders), codes(desk)) == (1, [])  # its result is waited for
    live(desk, 300_000, every=1_000)
    assert 5 <= len(desk.s4.orders) <= 7
    assert codes(desk) == [("ERROR", "POSITION_MISSING")]
    view = desk.commands.execute("p1", "BTCUSDT", "FUT", "WRITE_OFF", "ann", "gone")
    assert view.position.status == "CLOSED"
    assert desk.now().realized_pnl_usdt == 0


def test_s4_is_asked_what_an_operation_had_sent_when_its_position_is_written_off(desk: Desk) -> None:
    held, op = begin(stopped(39_200, op_count=6), Action("STOP_MOVE", "TRAIL", D(1), target="SL-1"), NOW)
    desk.put(held, op)
    desk.commands.execute("p1", "BTCUSDT", "FUT", "WRITE_OFF", "ann", "gone")
    assert (desk.now().status, desk.now().unverified_from, desk.op()) == ("CLOSED", 7, None)
    evaluate(desk)
    assert op.client_order_id in desk.s4.asked
    assert desk.now().unverified_from == 0


def test_a_result_ends_what_was_missed(desk: Desk) -> None:
    desk.put(stopped(39_200, missing_ts=NOW, missing_told=True, exit_not_before=NOW + 60_000, exit_reason="OPERATOR"))
    desk.results.apply(told("x", "FILLED", "EXIT", qty="0.4", filled_qty="0.4", avg_price="40000"), {})
    now = desk.now()
    assert (now.qty, now.missing_ts, now.missing_told, now.exit_not_before) == (D("0.6"), 0, False, 0)


def test_an_ingress_that_answers_404_is_no_reason_to_leave(desk: Desk) -> None:
    desk.put(position())
    market(desk, 40_000)

    def lost(order: Any) -> None:
        raise UnexpectedAnswer("s4", 404)

    desk.s4.placing = lost
    evaluate(desk)
    live(desk, 5_000)
    assert {o.kind for o in desk.s4.orders} == {"SL"}
    assert len({o.client_order_id for o in desk.s4.orders}) == 1
    assert ("ERROR", "S4_UNEXPECTED") in codes(desk)
    assert desk.now().exit_reason == ""


def test_a_profit_filled_in_part_says_so(desk: Desk) -> None:
    held = stopped(39_200)
    order = replace(held.orders[0], client_order_id="TP-1", kind="TP", type="MARKET", qty=D("0.4"), stop_px=None)
    desk.put(replace(held, orders=(*held.orders, order)))
    desk.results.apply(told("TP-1", "CANCELED", "TP", qty="0.4", filled_qty="0.1", avg_price="41000"), {})
    desk.relay.run()
    docs = list(desk.store.history["p1"].values())[-2:]
    assert [(d["phase"], d.get("outcome")) for d in docs] == [("RESULT", None), ("AFTER", "PARTIAL")]


def test_time_without_a_stop_is_counted_from_what_left_it_without_one_although_nobody_was_there(desk: Desk) -> None:
    """The stop expires while all processes are dead; another 100 ms later the next one is accepted."""
    desk.put(stopped(39_200, terms=desk.terms()))
    desk.clock.now += 20_001
    market(desk, 40_000)
    desk.results.apply(told("SL-1", "EXPIRED"), {})
    desk.clock.now += 100
    evaluate(desk)
    assert desk.metrics.observed("s6_unprotected_seconds") == [20.1]


def test_time_without_a_stop_is_counted_whatever_the_cause(desk: Desk) -> None:
    desk.put(position(terms=desk.terms()))
    assert desk.now().unprotected_since == NOW
    market(desk, 40_000)
    desk.clock.now += 300
    evaluate(desk)
    assert desk.metrics.observed("s6_first_stop_seconds") == [0.3]
    desk.results.apply(told(desk.now().sl_order, "EXPIRED"), {})
    desk.clock.now += 200
    evaluate(desk)
    assert desk.metrics.observed("s6_unprotected_seconds") == [0.2]
    assert desk.now().unprotected_since == 0


def test_a_stop_that_ends_after_s4_said_that_it_holds_nothing_ends_no_pause() -> None:
    held = stopped(39_000, sl_not_before=NOW + 9_000)
    lost = replace(held.orders[0], status="CANCELED")
    assert stop_lost(held, lost, Retry(), NOW)[0].sl_not_before == 0
    missing = replace(held, missing_ts=NOW - 1)
    assert stop_lost(missing, lost, Retry(), NOW)[0].sl_not_before == NOW + 9_000
    often = replace(held, sl_losses=3, sl_ts=NOW)
    assert stop_lost(often, lost, Retry(), NOW)[0].sl_not_before == NOW + pause_ms(3, Retry())
