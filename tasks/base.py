"""What the tasks share: this process's services, and the alert about a task that failed."""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.signals import task_failure

from s6.bootstrap import LazyServices, build
from tasks.app import app
from tasks.hints import CeleryHints

services = LazyServices(app.conf["settings"], lambda settings: build(settings, CeleryHints()))
"""Returns this process's services. Raises ``StateUnavailable`` when they cannot be built because Redis is away."""


@task_failure.connect
def _report(sender: Task, exception: Exception, args: tuple[Any, ...], **_: Any) -> None:
    alert_failure(sender.name, args, exception)


def alert_failure(name: str, args: tuple[Any, ...], error: Exception) -> None:
    """Raise an alert about a task that failed for an unexpected reason: its next run will fail as well."""
    what = f"{name}{tuple(args)}: {type(error).__name__}: {error}"
    services().alerts.raise_alert("ERROR", "TASK_FAILED", what, scope=f"{name}:{args[0] if args else ''}")


def task(**options: Any) -> Any:
    """Declare a task with the options that are its own; all others are the application's."""
    return app.task(**options)
