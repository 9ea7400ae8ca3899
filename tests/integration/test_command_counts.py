"""What an entry and a stop move cost in commands to Redis, all processes together: a bound, so that it stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from s6.standalone.redis_single import EmbeddedRedis
from tests.support.counted import Counted

MANY: Final = 20
FIRST_STOP: Final = 68
STOP_MOVE: Final = 96


@pytest.fixture
def counted(own_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Counted]:
    with closing(Counted(own_redis, tmp_path)) as counted:
        counted.tick("40000")
        counted.enter("warm")
        yield counted


def test_commands_of_first_stops_and_stop_moves_are_bounded(counted: Counted) -> None:
    names = [f"p{n}" for n in range(MANY)]
    with counted.counting() as entries:
        counted.enter(*names)
    assert {counted.stop(name)["price"] for name in names} == {"39200"}
    with counted.counting() as moves:
        counted.tick("42100")
    assert {counted.stop(name)["price"] for name in names} == {"40800"}
    assert entries.total() / MANY <= FIRST_STOP, entries.most_common()
    assert moves.total() / (MANY + 1) <= STOP_MOVE, moves.most_common()
