"""Messages are taken apart with the clock at hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from s6.adapters.reading import Reader
from s6.model.wire import MalformedMessage, TickMessage
from tests.support.doubles import ManualClock
from tests.unit.given import NOW, bundle


def reader(**health: int) -> Reader:
    bundles: Any = SimpleNamespace(latest=bundle(health=health) if health else None)
    return Reader(ManualClock(NOW), bundles)


@pytest.mark.parametrize(("health", "skew_ms"), [({}, 5_000), ({"clock_skew_ms": 70}, 70)])
def test_a_time_may_lie_ahead_as_far_as_the_bundle_says(health: dict[str, int], skew_ms: int) -> None:
    one = reader(**health)
    assert one.latest_ts() == NOW + skew_ms
    assert one.read(TickMessage, {"ts": str(NOW + skew_ms), "mark": "1"}).ts == NOW + skew_ms
    with pytest.raises(MalformedMessage, match="1 ms further ahead"):
        one.read(TickMessage, {"ts": str(NOW + skew_ms + 1), "mark": "1"})
