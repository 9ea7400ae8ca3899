"""Seeds, in chunks that run side by side: ``S6_SIMULATION_SEEDS`` says how many."""

from __future__ import annotations

import os

import pytest

from tests.simulation.scenario import run

SEEDS = int(os.environ.get("S6_SIMULATION_SEEDS", "1000"))
CHUNK = 50


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_nothing_is_lost_doubled_or_left_naked(first: int) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS)):
        run(seed)
