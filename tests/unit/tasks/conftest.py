"""The worker's tasks in this process, over a desk's services and a broker in memory."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import tests.support.celery_settings  # noqa: F401 - first of all: what follows reads them
from tasks import base
from tests.support.desk import Desk
from tests.unit.given import bundle
from tests.unit.tasks.broker import Broker, in_memory


@pytest.fixture
def broker() -> Broker:
    """The broker that tasks are sent to, empty."""
    return in_memory()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The desk whose services the tasks use. What the tasks themselves send goes to ``desk.hints``."""
    desk = Desk(bundle())
    names = ("redis", "clock", "alerts", "governor", "executor", "reconciler", "sweep", "relay")
    parts: dict[str, Any] = {name: getattr(desk, name) for name in names}
    parts["hints"] = desk.looks
    monkeypatch.setattr(base.services, "_services", SimpleNamespace(**parts))
    return desk
