"""The sweep asks for an evaluation where something is to do, and nowhere else."""

from __future__ import annotations

import pytest

from tests.support.desk import Desk
from tests.unit.given import bundle, stopped
from tests.unit.losses import FIRST


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def test_the_sweep_sees_to_it(desk: Desk) -> None:
    desk.put(stopped(39_000, unverified_from=FIRST))
    desk.put(stopped(39_900, position_id="p2", bundle_version="b-1"))
    desk.sweep.run()
    assert desk.hints.evaluated == ["p1"]
