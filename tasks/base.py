"""The Celery application, and the one House of each process, built when first needed: after the fork."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from celery import Celery

from tasks import transport

if TYPE_CHECKING:
    from s6.bootstrap import House

transport.mend()
app = Celery("s6")
app.config_from_object("celeryconfig")
app.conf.imports = (
    "tasks.manage",
    "tasks.execution",
    "tasks.treasury",
    "tasks.snapshots",
    "tasks.upkeep",
    "tasks.heart",
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


def task(**options: Any) -> Any:
    """Declare a task. Each states nothing but its own: acks late, no result and time limits are the application's."""
    return app.task(**options)
