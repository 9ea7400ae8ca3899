"""The Celery application, and the one House of each process, built when first needed: after the fork."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celery import Celery, Task

from tasks import patch_kombu as transport

if TYPE_CHECKING:
    from s6.bootstrap import House


class Told(Task):
    """A task whose failure people are told of: what fails now fails with the next hint as well."""

    def on_failure(
        self, exc: Exception, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any], einfo: Any
    ) -> None:
        tell_failure(self.name, args, exc)


transport.mend()
app = Celery("s6", task_cls=Told)
app.config_from_object("celeryconfig")
app.conf.imports = (
    "tasks.evaluation",
    "tasks.execution",
    "tasks.treasury",
    "tasks.snapshots",
    "tasks.alerts",
    "tasks.watchdog",
)

_lock = threading.Lock()
_house: House | None = None


def house() -> House:
    """This process's House."""
    global _house
    if _house is None:
        with _lock:
            if _house is None:
                from s6.bootstrap import build

                _house = build(app.conf["settings"])
    return _house


def tell_failure(name: str, args: tuple[Any, ...], error: Exception) -> None:
    """Raise the alert of a task that failed for a reason nobody has thought of."""
    what = f"{name}{tuple(args)}: {type(error).__name__}: {error}"
    house().alerts.raise_alert("ERROR", "TASK_FAILED", what, scope=f"{name}:{args[0] if args else ''}")


def task(**options: Any) -> Any:
    """Declare a task. Each states nothing but its own: acks late, no result and time limits are the application's."""
    return app.task(**options)
