"""Snapshots are moved at every beat; Redis away is no failure."""

from __future__ import annotations

import pytest

from s6.ports import StateUnavailable
from tasks.snapshots import relay
from tests.support.desk import Desk
from tests.unit.given import stopped


def test_what_waits_is_moved(desk: Desk) -> None:
    desk.put(stopped(39_000), told=False)
    relay.run()
    assert [doc["seq"] for doc in desk.store.history["p1"].values()] == [1]


def test_redis_away_waits_for_the_next_beat(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def away() -> int:
        calls.append(1)
        raise StateUnavailable("away")

    monkeypatch.setattr(desk.relay, "run", away)
    relay.run()
    assert calls == [1]
