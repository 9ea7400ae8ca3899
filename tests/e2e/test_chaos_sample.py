"""A sample of ``make chaos``: the same campaign, a minute of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.campaign import Script
from tests.chaos.trial import trial


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_minute_of_chaos(tmp_path: Path) -> None:
    trial(tmp_path, Script(seed=7, kills=8, redis_restarts=1, positions=30, pause_s=(0.2, 2.5)))
