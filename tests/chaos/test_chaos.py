"""The whole campaign: `make chaos`. ``S6_CHAOS_SEED`` and ``S6_CHAOS_KILLS`` choose another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.campaign import Script
from tests.chaos.trial import trial


@pytest.mark.timeout(3600)
def test_a_hundred_kills(tmp_path: Path) -> None:
    seed, kills = int(os.environ.get("S6_CHAOS_SEED", "1")), int(os.environ.get("S6_CHAOS_KILLS", "100"))
    trial(tmp_path, Script(seed=seed, kills=kills, redis_restarts=5, pause_s=(0.5, 4.0)))
