"""The way in for messages: how far ahead of the clock a time may lie, and what JSON must be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from s6.adapters.reading import SKEW_MS, Reader
from s6.model.wire import BundleEvent, MalformedMessage, TickMessage
from tests.support.doubles import ManualClock


def reader(clock: ManualClock, skew_ms: int | None = None) -> Reader:
    bundle = None if skew_ms is None else SimpleNamespace(health=SimpleNamespace(clock_skew_ms=skew_ms))
    bundles: Any = SimpleNamespace(latest=bundle)
    return Reader(clock, bundles)


@pytest.mark.parametrize(("skew_ms", "allowed_ms"), [(None, SKEW_MS), (0, 0), (700, 700)])
def test_a_time_may_lie_ahead_as_far_as_the_bundle_says(skew_ms: int | None, allowed_ms: int) -> None:
    clock = ManualClock()
    messages = reader(clock, skew_ms)
    latest = clock.now + allowed_ms
    assert messages.latest_ts() == latest
    assert messages.read(TickMessage, {"ts": str(latest), "mark": "1"}).ts == latest
    with pytest.raises(MalformedMessage, match="1 ms further ahead"):
        messages.read(TickMessage, {"ts": str(latest + 1), "mark": "1"})


def test_a_message_in_json() -> None:
    assert reader(ManualClock()).read_json(BundleEvent, '{"version": "b-1", "ts": 1, "more": [1e99]}').version == "b-1"


@pytest.mark.parametrize("text", ["", "\udcff", "[]", "7", "NaN", "[" * 100_000, '{"version": 7}', '{"version": 1e99}'])
def test_what_is_no_message_in_json(text: str) -> None:
    with pytest.raises(MalformedMessage, match=r"message|version"):
        reader(ManualClock()).read_json(BundleEvent, text)
