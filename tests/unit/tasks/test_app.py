"""Every task that is sent by its name is one that a worker knows, on a queue that a worker reads."""

from __future__ import annotations

import pytest

from s6.adapters.clock import steady_now
from tasks.app import app
from tasks.hints import NAMES

QUEUES = {
    "tasks.evaluation.evaluate": "manage",
    "tasks.evaluation.evaluate_some": "manage",
    "tasks.execution.cancel_stop": "execution",
    "tasks.execution.await_cancel": "execution",
    "tasks.execution.place_stop": "execution",
    "tasks.execution.place_order": "execution",
    "tasks.treasury.advance": "treasury",
}
SCHEDULED = {
    "tasks.evaluation.sweep": "sweep",
    "tasks.treasury.check": "treasury",
    "tasks.treasury.sweep": "treasury",
    "tasks.snapshots.relay": "snapshots",
    "tasks.alerts.publish": "upkeep",
}


@pytest.fixture(autouse=True)
def _all_imported() -> None:
    app.loader.import_default_modules()


def test_these_are_all() -> None:
    assert set(NAMES) == QUEUES.keys()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} == SCHEDULED.keys()
    ours = {name for name in app.tasks if name.startswith("tasks.")}
    assert ours == QUEUES.keys() | SCHEDULED.keys()


@pytest.mark.parametrize(("name", "queue"), [*QUEUES.items(), *SCHEDULED.items()])
def test_a_worker_knows_it_and_reads_its_queue(name: str, queue: str) -> None:
    assert name in app.tasks
    assert app.amqp.router.route({}, name)["queue"].name == queue
    assert queue in {known.name for known in app.conf.task_queues}


@pytest.mark.parametrize("name", QUEUES)
def test_it_has_no_options_of_its_own(name: str) -> None:
    """Sent by its name, a task would not be given them."""
    task = app.tasks[name]
    assert (task.priority, task.serializer) == (app.conf.task_default_priority, app.conf.task_serializer)
    assert vars(type(task)).keys().isdisjoint({"queue", "expires", "routing_key", "exchange"})


def test_nothing_that_beat_sends_expires_and_its_periods_are_steady() -> None:
    """A worker whose clock is ahead of beat's would revoke what expires; a clock set back would hold up the sweep."""
    for entry in app.conf.beat_schedule.values():
        assert "expires" not in entry.get("options", {})
        assert entry["schedule"].nowfun is steady_now
