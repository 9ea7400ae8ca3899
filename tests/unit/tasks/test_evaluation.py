"""A worker evaluates: it carries out what it decides, asks S4 what it must, and asks again for what must wait."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6 import keys
from s6.model.market import Tick
from s6.model.position import Order
from s6.ports import StateUnavailable
from tasks import evaluation
from tasks.evaluation import evaluate, evaluate_some, sweep
from tasks.scheduling import EvaluationQueue
from tests.support.desk import Desk
from tests.unit.given import NOW, position, result, stopped
from tests.unit.losses import FIRST, lost
from tests.unit.tasks.broker import Broker, Face, call


@pytest.fixture(autouse=True)
def queue(monkeypatch: pytest.MonkeyPatch) -> EvaluationQueue:
    """A queue with places for two, of this test alone."""
    queue = EvaluationQueue(2)
    monkeypatch.setattr(evaluation, "queue", queue)
    return queue


@pytest.fixture(autouse=True)
def _market(desk: Desk) -> None:
    desk.state.put_tick("BTCUSDT", Tick(NOW, D(40_000), D(40_000), D(40_000)))


def silent(desk: Desk) -> Order:
    """A position with an order that S4 has said nothing of for too long, although it filled."""
    order = Order("TP-1", "i", "TP", "SELL", "MARKET", D("0.2"), "NEW", NOW - 2_001, 1, True)
    held = stopped(39_300, bundle_version="b-1", ladder="[]")
    desk.put(replace(held, orders=(*held.orders, order)))
    desk.s4.has["TP-1"] = result(client_order_id="TP-1", kind="TP", side="SELL", qty="0.2", filled_qty="0.2",
                                 avg_price="41000", leverage=None)  # fmt: skip
    desk.s4.has["SL-1"] = result(client_order_id="SL-1", kind="SL", side="SELL", type="STOP_MARKET", status="NEW",
                                 filled_qty="0", avg_price=None, leverage=None)  # fmt: skip
    return order


def test_what_is_decided_is_carried_out_here_and_now(desk: Desk, broker: Broker) -> None:
    desk.put(position())
    face = call(evaluate, "p1")
    now = desk.now()
    assert desk.s4.sent == [now.sl_order] and now.sl_price == D(39_200)
    assert (desk.hints.driven, face.retried, broker.taken()) == ([], [], [])


def test_what_must_be_cancelled_first_goes_on_by_the_chains_other_links(desk: Desk, broker: Broker) -> None:
    desk.put(stopped(39_000))
    call(evaluate, "p1")
    assert desk.s4.sent == ["cancel SL-1"]
    [sent] = broker.taken()
    assert (sent.name, [link[0] for link in sent.rest]) == (
        "tasks.execution.await_cancel",
        ["tasks.execution.place_stop"],
    )


def test_orders_that_s4_keeps_silent_about_are_asked_for(desk: Desk) -> None:
    silent(desk)
    call(evaluate, "p1")
    assert desk.s4.asked == ["SL-1", "TP-1"]
    now = desk.now()
    assert (now.qty, [o.client_order_id for o in now.orders]) == (D("0.8"), ["SL-1"])


def test_nobody_is_asked_where_nothing_is_silent(desk: Desk) -> None:
    desk.put(stopped(39_300))
    call(evaluate, "p1")
    assert desk.s4.asked == []


def test_an_s4_that_is_away_is_asked_again_soon(desk: Desk) -> None:
    silent(desk)
    desk.s4.down = True
    call(evaluate, "p1")
    assert (desk.hints.evaluated, desk.hints.attempts) == (["p1"], [1])
    assert 15 <= desk.hints.delays[0] <= 30


def test_what_s4_may_know_more_of_is_verified_first(desk: Desk) -> None:
    desk.put(lost(sl_order="", orders=()))
    call(evaluate, "p1")
    assert len(desk.s4.asked) >= 15 and desk.now().unverified_from == 0
    assert desk.s4.sent == [desk.now().sl_order]  # and then governed, in the same breath
    assert desk.hints.evaluated == []


def test_while_it_cannot_be_verified_it_is_asked_for_again(desk: Desk) -> None:
    desk.put(lost(sl_order="", orders=()))
    desk.s4.down = True
    call(evaluate, "p1")
    assert (desk.hints.evaluated, desk.hints.attempts) == (["p1"], [1])
    assert (desk.now().unverified_from, desk.s4.sent) == (FIRST, [])


@pytest.mark.parametrize(("wanted_ms", "waited_ms"), [(7_000, 7_000), (60_000, 30_000)])  # no look is longer ahead
def test_it_is_asked_for_again_after_the_rest_that_s4_wants(desk: Desk, wanted_ms: int, waited_ms: int) -> None:
    desk.put(lost(sl_order="", orders=()))
    desk.s4.down, desk.s4.retry_after_ms = True, wanted_ms
    call(evaluate, "p1")
    assert (desk.hints.evaluated, desk.hints.delays) == (["p1"], [waited_ms])


@pytest.mark.parametrize(("attempt", "least", "most"), [(0, 15, 30), (3, 120, 240), (9, 500, 1_000)])
def test_who_is_busy_is_asked_again_ever_later(desk: Desk, attempt: int, least: int, most: int) -> None:
    desk.put(position())
    desk.state.lock(*keys.position_lock("p1"))
    call(evaluate, "p1", attempt)
    assert (desk.hints.evaluated, desk.hints.attempts) == (["p1"], [attempt + 1])
    assert least <= desk.hints.delays[0] <= most


def test_however_many_find_it_busy_one_asks_again(desk: Desk) -> None:
    desk.put(position())
    desk.state.lock(*keys.position_lock("p1"))
    for _ in range(10):
        call(evaluate, "p1")
    assert desk.hints.evaluated == ["p1"]


def test_in_the_end_the_sweep_asks(desk: Desk) -> None:
    desk.put(position())
    desk.state.lock(*keys.position_lock("p1"))
    call(evaluate, "p1", 10)
    assert desk.hints.evaluated == []


def test_what_falls_due_later_is_asked_for_then(desk: Desk) -> None:
    desk.put(stopped(40_000))
    call(evaluate, "p1")
    assert (desk.hints.evaluated, desk.hints.delays) == (["p1"], [2_000])


def test_one_position_that_fails_holds_up_no_other(
    desk: Desk, queue: EvaluationQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.put(position(position_id="p2"))
    holders = [queue.work(name) for name in ("a", "b")]  # both places are taken: p2 is left to the queue
    for holder in holders:
        next(holder)
    call(evaluate, "p2")
    assert desk.s4.sent == []
    for holder in holders:
        holder.close()
    decide = desk.governor.under_lock

    def fails(position_id: str, *others: Any) -> Any:
        if position_id == "p1":
            raise RuntimeError("a mistake")
        return decide(position_id, *others)

    monkeypatch.setattr(desk.governor, "under_lock", fails)
    call(evaluate, "p1")
    assert len(desk.s4.sent) == 1 and desk.hints.evaluated == []
    [(severity, code, detail, _)] = desk.alerts.raised
    assert (severity, code) == ("ERROR", "TASK_FAILED")
    assert detail == "tasks.evaluation.evaluate('p1',): RuntimeError: a mistake"


@pytest.mark.parametrize(("priority", "order"), [(0, ["p1", "p2"]), (6, ["p2", "p1"]), (None, ["p2", "p1"])])
def test_what_protects_is_decided_first(
    desk: Desk, queue: EvaluationQueue, priority: int | None, order: list[str]
) -> None:
    holders = [queue.work(name) for name in ("a", "b")]
    for holder in holders:
        next(holder)
    call(evaluate, "p2")
    call(evaluate, "p1", face=Face(priority=priority))
    assert list(holders[0]) == order


def test_what_is_left_when_the_worker_ends_is_asked_for_once_more(desk: Desk, queue: EvaluationQueue) -> None:
    evaluation._end()
    call(evaluate, "p1")
    assert desk.hints.evaluated == ["p1"]
    assert desk.s4.sent == []


def test_several_positions_are_evaluated_each_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("p1", "p2", "p3"):
        desk.put(position(position_id=name))
    decide = desk.governor.under_lock

    def fails(position_id: str, *others: Any) -> Any:
        if position_id == "p2":
            raise RuntimeError("a mistake")
        return decide(position_id, *others)

    monkeypatch.setattr(desk.governor, "under_lock", fails)
    call(evaluate_some, ["p1", "p2", "p3"])
    assert [order.intent_id for order in desk.s4.orders] == [
        desk.now(name).orders[0].intent_id for name in ("p1", "p3")
    ]
    assert [detail for _, _, detail, _ in desk.alerts.raised] == [
        "tasks.evaluation.evaluate_some('p2',): RuntimeError: a mistake"
    ]


def test_redis_away_is_no_failure(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise StateUnavailable("away")

    monkeypatch.setattr(desk.governor, "under_lock", away)
    call(evaluate, "p1")
    assert (desk.hints.evaluated, desk.alerts.raised) == (["p1"], [])


def test_the_sweep_is_run_once_a_period(desk: Desk) -> None:
    desk.put(position())
    for _ in range(2):
        sweep.run()
    assert desk.hints.evaluated == ["p1"]
