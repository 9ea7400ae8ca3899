"""A seed says everything: the same history, whatever the process; and a failure prints it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from tests.simulation.judge import Violation
from tests.simulation.planting import first_found
from tests.simulation.scenario import run
from tests.simulation.test_mutations import CROWD, resizing_is_forgotten

HISTORY = """
import logging
logging.disable(logging.CRITICAL)
from tests.simulation.scenario import Scenario
scenario = Scenario({seed})
scenario.run()
print("\\n".join(scenario.world.kernel.log))
"""


@pytest.mark.parametrize("seed", [3, 8])
def test_a_seed_replays_exactly_in_any_process(seed: int) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", HISTORY.format(seed=seed)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            check=True,
            timeout=60,
        )
        digests.add(hashlib.sha256(done.stdout).hexdigest())
        assert len(done.stdout) > 500
    assert len(digests) == 1


def test_a_failing_seed_prints_its_history_and_fails_again_in_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    resizing_is_forgotten(monkeypatch)
    seed = first_found(CROWD)
    assert seed is not None
    told = []
    for _ in range(2):
        with pytest.raises(Violation) as caught:
            run(seed, CROWD)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert "the entry side: " in told[0] and "without a stop for it since" in told[0] and f"\nseed {seed}" in told[0]
