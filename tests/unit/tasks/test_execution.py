"""Each task takes an operation as far as it goes, and what comes next is another's or its own again."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.engine.operation import begin
from s6.model.operation import Operation
from s6.plan import Action
from s6.ports import StateUnavailable
from tasks import execution
from tasks.scheduling import priority
from tests.support.desk import Desk
from tests.unit.given import NOW, result, stopped
from tests.unit.tasks.broker import Face, Retried, call

STEP = D("0.001")
MOVE = Action("STOP_MOVE", "TRAIL", D(1), D(39_300), D(39_500), target="SL-1", step=STEP)
TASKS = [execution.cancel_stop, execution.await_cancel, execution.place_stop, execution.place_order]


def begun(desk: Desk, **members: Any) -> Operation:
    held, op = begin(stopped(39_300), MOVE, NOW)
    op = replace(op, **members)
    desk.put(held, op)
    return op


def canceled(desk: Desk) -> None:
    told = result(client_order_id="SL-1", kind="SL", side="SELL", type="STOP_MARKET", status="CANCELED",
                  filled_qty="0", avg_price=None, leverage=None)  # fmt: skip
    desk.results.apply(told, {}, hint=False)


def test_once_the_cancel_is_asked_for_the_wait_is_the_next_links(desk: Desk) -> None:
    op = begun(desk)
    face = call(execution.cancel_stop, "p1", op.op_id)
    assert (desk.s4.sent, face.retried) == (["cancel SL-1"], [])


def test_a_cancel_that_s4_did_not_take_is_asked_for_again(desk: Desk) -> None:
    op = begun(desk)
    desk.s4.down = True
    face = Face()
    with pytest.raises(Retried):
        call(execution.cancel_stop, "p1", op.op_id, face=face)
    [again] = face.retried
    assert 0.05 + 0.02 <= again["countdown"] <= 0.1 + 0.04
    assert again["max_retries"] == 200


@pytest.mark.parametrize("task", [execution.await_cancel, execution.place_stop, execution.place_order])
def test_while_the_outcome_is_awaited_it_is_looked_at_again(desk: Desk, task: Any) -> None:
    op = begun(desk, stage="AWAIT_CANCEL", deadline=NOW + 1_500)
    face = Face()
    with pytest.raises(Retried):
        call(task, "p1", op.op_id, face=face)
    assert 1.52 <= face.retried[0]["countdown"] <= 1.54
    assert face.request.chain == ["a link"]


def test_no_wait_is_longer_than_five_seconds(desk: Desk) -> None:
    op = begun(desk, not_before=NOW + 60_000)
    face = Face()
    with pytest.raises(Retried):
        call(execution.place_stop, "p1", op.op_id, face=face)
    assert 5.0 < face.retried[0]["countdown"] <= 5.04


def test_when_the_wait_has_placed_it_nothing_is_left_for_the_last_link(desk: Desk) -> None:
    op = begun(desk, stage="AWAIT_CANCEL", deadline=NOW + 1_500)
    canceled(desk)
    face = call(execution.await_cancel, "p1", op.op_id)
    assert desk.s4.sent == [op.client_order_id]
    assert (face.request.chain, face.retried) == (None, [])


@pytest.mark.parametrize("task", TASKS)
def test_what_is_done_needs_nothing_more(desk: Desk, task: Any) -> None:
    op = begun(desk, stage="PLACE", target="")
    face = call(task, "p1", op.op_id)
    assert (desk.s4.sent, face.retried) == ([op.client_order_id], [])
    call(task, "p1", op.op_id)
    assert desk.s4.sent == [op.client_order_id]


@pytest.mark.parametrize("task", TASKS)
def test_redis_away_is_waited_out(desk: Desk, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(position_id: str, op_id: str) -> Any:
        raise StateUnavailable("away")

    monkeypatch.setattr(desk.executor, "advance", away)
    face = Face()
    with pytest.raises(Retried):
        call(task, "p1", "1-1", face=face)
    assert 0.52 <= face.retried[0]["countdown"] <= 0.54


def test_a_step_goes_before_decisions(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    op = begun(desk)
    seen: list[int] = []
    desk.s4.before = lambda name: seen.append(priority._steps)
    desk.s4.placing = lambda order: seen.append(priority._steps)
    desk.s4.has["SL-1"] = result(client_order_id="SL-1", kind="SL", side="SELL", type="STOP_MARKET",
                                 status="CANCELED", filled_qty="0", avg_price=None, leverage=None)  # fmt: skip
    desk.write(desk.now(), replace(op, stage="CHECK"))
    call(execution.place_stop, "p1", op.op_id)
    assert seen == [1, 1]
    assert priority._steps == 0
