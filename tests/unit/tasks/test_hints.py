"""Hints over Celery: which task, on which queue, how urgent, and what follows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from s6.engine.executor import Progress
from s6.engine.operation import begin
from s6.model.operation import Operation
from s6.plan import Action
from tasks import hints
from tasks.app import app
from tasks.hints import CeleryHints, carry_on
from tests.unit.given import NOW, position
from tests.unit.tasks.broker import Broker, Sent

HINTS = CeleryHints()
MOVE = Action("STOP_MOVE", "TRAIL", target="SL-1")
AWAIT = ("tasks.execution.await_cancel", ("p1", "1-1"))
PLACE = ("tasks.execution.place_stop", ("p1", "1-1"))


def op(action: Action, **members: Any) -> Operation:
    return replace(begin(position(), action, NOW)[1], **members)


def evaluated(name: str = "p1", *attempt: int, priority: int = 6, delayed: bool = False) -> Sent:
    return Sent("manage", "tasks.evaluation.evaluate", (name, *attempt), priority, delayed, False)


def links(sent: Sent) -> list[tuple[str, object]]:
    return [(name, args) for name, args, _ in sent.rest]


def test_an_evaluation_waits_behind_what_protects(broker: Broker) -> None:
    HINTS.evaluate("p1")
    HINTS.evaluate("p2", delay_ms=40, attempt=3)
    assert broker.taken() == [evaluated("p1", 0), evaluated("p2", 3, delayed=True)]


def test_a_long_wait_is_the_sweeps() -> None:
    assert [hints._countdown(ms) for ms in (0, 1, 30_000, 30_001)] == [None, 0.001, 30.0, 30.0]


def test_what_protects_goes_before_all_else(broker: Broker) -> None:
    HINTS.protect("p1")
    assert broker.taken() == [evaluated(priority=0)]


def test_the_evaluations_that_wait_are_counted_over_all_priorities(broker: Broker) -> None:
    assert HINTS.waiting() == 0
    HINTS.evaluate("p1")
    HINTS.protect("p2")
    assert HINTS.waiting() == 2


def test_many_evaluations_go_out_and_never_expire(broker: Broker) -> None:
    HINTS.evaluate_many([])
    assert broker.taken() == []
    HINTS.evaluate_many(["p1", "p2"])
    assert broker.taken() == [evaluated(), evaluated("p2")]


def test_priorities_are_the_same_in_a_process_that_knows_no_tasks(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in hints.NAMES:
        monkeypatch.delitem(app.tasks, name, raising=False)
    HINTS.evaluate("p1")
    HINTS.evaluate_many([f"p{number}" for number in range(40)])
    HINTS.advance_transfer("t-1")
    HINTS.protect("p2")
    assert {(task.name, task.priority) for task in broker.taken()} == {
        (hints.EVALUATE, 6),
        (hints.EVALUATE_SOME, 6),
        (hints.ADVANCE_TRANSFER, 6),
        (hints.EVALUATE, 0),
    }


def test_very_many_evaluations_go_out_several_at_a_time(broker: Broker) -> None:
    names = [f"p{number}" for number in range(100)]
    HINTS.evaluate_many(names, urgent=True)
    sent = broker.taken()
    assert {(task.name, task.priority) for task in sent} == {("tasks.evaluation.evaluate_some", 0)}
    shares = [list(task.args[0]) for task in sent]  # type: ignore[call-overload]
    assert [name for share in shares for name in share] == names and max(map(len, shares)) == 6
    HINTS.evaluate_many(names * 10)
    assert max(len(task.args[0]) for task in broker.taken()) == 8  # type: ignore[arg-type]


def test_a_move_is_sent_with_the_links_behind_its_cancel(broker: Broker) -> None:
    HINTS.execute("p1", op(MOVE))
    [sent] = broker.taken()
    assert (sent.queue, sent.name, sent.args) == ("execution", "tasks.execution.cancel_stop", ("p1", "1-1"))
    assert links(sent) == [AWAIT, PLACE]
    assert sent.rest[0][2]["countdown"] == 0.5


@pytest.mark.parametrize(
    ("planned", "priority"),
    [
        (Action("STOP_MOVE", "FIRST"), 0),
        (Action("STOP_MOVE", "RESIZE", target="SL-1"), 0),
        (Action("STOP_MOVE", "TRAIL", target="SL-1"), 3),
        (Action("EXIT", "OPERATOR"), 0),
        (Action("TP_PARTIAL", "RUNG"), 3),
        (Action("ADD", "SIGNAL"), 3),
        (Action("CLEANUP", "CLOSED", target="SL-1"), 3),
    ],
)
def test_what_is_begun_is_as_urgent_as_it_protects(broker: Broker, planned: Action, priority: int) -> None:
    HINTS.execute("p1", op(planned))
    HINTS.resume("p1", op(planned))
    first, again = broker.taken()
    assert (first.priority, again.priority) == (priority, priority)
    assert (first.delayed, again.delayed, again.rest) == (False, False, ())


def test_a_move_whose_old_stop_is_gone_is_urgent(broker: Broker) -> None:
    HINTS.resume("p1", op(MOVE, stage="PLACE"))
    [sent] = broker.taken()
    assert (sent.name, sent.priority) == ("tasks.execution.place_stop", 0)


@pytest.mark.parametrize(
    ("planned", "task"),
    [
        (MOVE, "place_stop"),
        (Action("EXIT", "OPERATOR"), "place_order"),
        (Action("CLEANUP", "X", target="SL-1"), "place_order"),
    ],
)
def test_an_operation_goes_on_with_the_task_that_ends_it(broker: Broker, planned: Action, task: str) -> None:
    HINTS.resume("p1", op(planned))
    assert [(s.queue, s.name, s.args) for s in broker.taken()] == [
        ("execution", f"tasks.execution.{task}", ("p1", "1-1"))
    ]


def test_once_the_cancel_is_sent_the_rest_of_the_chain_follows(broker: Broker) -> None:
    carry_on("p1", op(MOVE), Progress("WAIT", 2_000, "AWAIT_CANCEL"))
    [sent] = broker.taken()
    assert ((sent.name, sent.args), links(sent), sent.delayed) == (AWAIT, [PLACE], True)


def test_what_has_to_wait_goes_on_after_its_wait(broker: Broker) -> None:
    carry_on("p1", op(Action("EXIT", "OPERATOR")), Progress("WAIT", 700, "PLACE"))
    [sent] = broker.taken()
    assert (sent.name, sent.priority, sent.delayed, sent.rest) == ("tasks.execution.place_order", 0, True, ())


def test_a_transfer_goes_on(broker: Broker) -> None:
    HINTS.advance_transfer("t1")
    HINTS.advance_transfer("t2", delay_ms=500)
    assert [(s.queue, s.name, s.args, s.delayed) for s in broker.taken()] == [
        ("treasury", "tasks.treasury.advance", ("t1",), False),
        ("treasury", "tasks.treasury.advance", ("t2",), True),
    ]


@pytest.mark.parametrize("error", [OperationalError("away"), RedisError("away"), ConnectionRefusedError("away")])
def test_a_hint_that_cannot_be_sent_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def away(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(app.amqp, "send_task_message", away)
    monkeypatch.setattr("celery.app.base.Celery.send_task", away)
    monkeypatch.setattr("celery.canvas.Signature.apply_async", away)
    HINTS.protect("p1")
    assert "a hint was not sent" in caplog.text


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr("celery.canvas.Signature.apply_async", wrong)
    with pytest.raises(TypeError):
        HINTS.protect("p1")
