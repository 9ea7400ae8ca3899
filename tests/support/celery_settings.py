"""Import this before anything of ``tasks``: Celery reads its settings once, from an environment that tests lack."""

from __future__ import annotations

import pytest

from tasks.app import app

with pytest.MonkeyPatch.context() as environment:
    for neighbour in ("S1", "S4", "S10", "S12"):
        environment.setenv(f"S6_{neighbour}_URL", "http://127.0.0.1:9")
    settings = app.conf["settings"]
