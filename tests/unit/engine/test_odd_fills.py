"""Fills as exchanges tell them, from the result to the order that follows from it."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.engine.evaluation import Evaluation
from s6.model.answers import CancelAnswer
from s6.model.market import Tick
from s6.model.position import Order
from s6.model.wire import OrderResult
from tests.support.desk import Desk
from tests.unit.given import bundle, result, stopped


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle(fut={"stop": {"fallback_pct": "0.02"}}))


def market(desk: Desk, mark: int) -> None:
    desk.state.put_tick("BTCUSDT", Tick(desk.clock.now, D(mark), D(mark), D(mark)))


def evaluate(desk: Desk) -> list[Order]:
    """Evaluate as a worker does. Returns all orders that S4 has been sent so far."""
    Evaluation(desk.governor, desk.executor, desk.reconciler).run("p1", lambda name, op, progress: None)
    return desk.s4.orders


def told(desk: Desk, name: str, status: str, **fields: Any) -> OrderResult:
    given: dict[str, Any] = {"kind": "SL", "side": "SELL", "type": "STOP_MARKET", "leverage": None, **fields}
    return result(ts=desk.clock.now, client_order_id=name, status=status, **given)


def test_a_fill_off_the_step_has_its_stop_in_whole_steps(desk: Desk) -> None:
    market(desk, 40_000)
    desk.results.apply(result(qty="5", filled_qty="5.012345"), {})
    (stop,) = evaluate(desk)
    assert (desk.now().qty, stop.qty) == (D("5.012345"), D("5.012"))


def test_a_fill_that_grew_by_a_hair_too_much_has_its_stop_for_what_was_ordered(desk: Desk) -> None:
    market(desk, 40_000)
    for filled, status in (("0.1", "PARTIALLY_FILLED"), ("0.2", "PARTIALLY_FILLED"), ("0.30000000000000004", "FILLED")):
        desk.results.apply(result(qty="0.3", filled_qty=filled, status=status), {})
    (stop,) = evaluate(desk)
    assert (desk.now().qty, stop.qty) == (D("0.3"), D("0.3"))


@pytest.mark.parametrize("average", ["0", None])
@pytest.mark.parametrize("by", ["stream", "answer"])
def test_a_stop_that_was_cancelled_while_it_filled_is_followed_by_one_for_the_rest(
    desk: Desk, average: str | None, by: str
) -> None:
    """Its last word has no average: it has none to tell, since nothing more was filled."""
    desk.rules.bundle = bundle(fut={"stop": {"fallback_pct": "0.02", "lock_steps": [{"roe": 0.5, "lock_roe": 0.2}]}})
    held = {"entry_price_avg": D(43_000), "isolated_margin_usdt": D(4_300), "liq_price": D(38_855)}
    desk.put(stopped(42_140, terms=desk.terms(), **held))
    part = {"qty": "1", "filled_qty": "0.4"}
    desk.results.apply(told(desk, "SL-1", "PARTIALLY_FILLED", avg_price="42139", **part), {})
    market(desk, 45_150)
    evaluate(desk)
    op = desk.op()
    assert op is not None and (op.kind, op.stage, op.target) == ("STOP_MOVE", "AWAIT_CANCEL", "SL-1")
    canceled = told(desk, "SL-1", "CANCELED", avg_price=average, **part)
    if by == "stream":
        desk.results.apply(canceled, {})
    else:
        desk.s4.has["SL-1"] = canceled
        desk.clock.now += 2_000  # cancel_wait_ms
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    (stop,) = desk.s4.orders
    assert (stop.kind, stop.qty, stop.stop_px) == ("SL", D("0.6"), D(43_860))
    assert (desk.now().qty, desk.now().sl_order) == (D("0.6"), stop.client_order_id)
    assert [alert for alert in desk.alerts.raised if alert[0] != "WARN"] == []


def test_a_spot_holding_that_a_fee_took_off_the_step_is_sold_in_whole_steps(desk: Desk) -> None:
    """What is left is dust: nothing is sold that is not held, and nothing is asked for for ever."""
    market(desk, 43_000)
    desk.results.apply(result(market="SPOT", qty="0.1", filled_qty="0.1", avg_price="43000", fee_qty="0.0001",
                              leverage=None), {})  # fmt: skip
    evaluate(desk)
    leaving = desk.commands.execute("p1", "BTCUSDT", "SPOT", "EXIT", "ann", "enough").op
    assert leaving is not None
    desk.executor.advance("p1", leaving.op_id)
    (sell,) = desk.s4.orders
    assert (sell.kind, sell.qty) == ("EXIT", D("0.099"))
    desk.results.apply(told(desk, sell.client_order_id, "FILLED", kind="EXIT", type="MARKET", market="SPOT",
                            qty="0.099", filled_qty="0.099", avg_price="43000"), {})  # fmt: skip
    assert (desk.now().status, desk.now().dust) == ("CLOSED", D("0.0009"))


def test_a_position_whose_symbol_left_the_bundle_gets_its_stop_again_and_is_closed_by_hand(desk: Desk) -> None:
    desk.put(stopped(39_200, terms=desk.terms()))
    desk.rules.bundle = bundle(symbols={"ETHUSDT": {"tick": "0.1", "step": "0.1"}})
    market(desk, 40_000)
    desk.results.apply(told(desk, "SL-1", "CANCELED", filled_qty="0", avg_price=None), {})
    (stop,) = evaluate(desk)
    assert (stop.kind, stop.qty, stop.stop_px) == ("SL", D(1), D(39_200))
    assert ("ERROR", "SYMBOL_UNKNOWN") in [alert[:2] for alert in desk.alerts.raised]
    desk.s4.cancels = CancelAnswer("CANCELED")
    view = desk.commands.execute("p1", "BTCUSDT", "FUT", "EXIT", "ann", "enough")
    assert [action.type for action in view.actions] == ["EXIT"]
    assert view.op is not None
    desk.executor.advance("p1", view.op.op_id)
    assert [(order.kind, order.qty) for order in desk.s4.orders[1:]] == [("EXIT", D(1))]
