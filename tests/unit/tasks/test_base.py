"""A task that fails for an unexpected reason is told of, whichever task it is."""

from __future__ import annotations

from celery.signals import task_failure

from tasks.app import app
from tasks.base import alert_failure, services, task
from tests.support.desk import Desk


def test_a_failure_is_an_alert_of_its_own_for_each_task_and_position(desk: Desk) -> None:
    alert_failure("tasks.x", ("p1", 2), ValueError("odd"))
    alert_failure("tasks.y", (), KeyError("k"))
    assert [(a[0], a[1], a[2]) for a in desk.alerts.raised] == [
        ("ERROR", "TASK_FAILED", "tasks.x('p1', 2): ValueError: odd"),
        ("ERROR", "TASK_FAILED", "tasks.y(): KeyError: 'k'"),
    ]


def test_celery_tells_of_every_failure(desk: Desk) -> None:
    sender = app.tasks["tasks.evaluation.sweep"]
    task_failure.send(sender=sender, task_id="1", exception=ValueError("odd"), args=("p1",), kwargs={}, traceback=None)
    assert [a[2] for a in desk.alerts.raised] == ["tasks.evaluation.sweep('p1',): ValueError: odd"]


def test_a_task_is_registered_with_its_own_options() -> None:
    @task(bind=True, name="tests.greet")
    def greet(self: object) -> str:
        return "hello"

    try:
        assert app.tasks["tests.greet"] is not None
        assert greet.name == "tests.greet"
    finally:
        app.tasks.unregister("tests.greet")


def test_the_services_are_those_of_the_settings() -> None:
    assert services.settings is app.conf["settings"]
