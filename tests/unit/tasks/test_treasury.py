"""Transfers go on from step to step by themselves, a few times; then the sweep looks after them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from s6.store import StoreUnavailable
from tasks import base
from tasks.treasury import advance, check, sweep
from tests.unit.tasks.broker import Face, Retried, call


class Transfers:
    """The treasury: what it was asked for, and what it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.delay_ms: int | None = None
        self.down = False

    def check(self) -> str:
        self.asked.append(("check",))
        return "NOTHING"

    def advance(self, transfer_id: str) -> Any:
        self.asked.append(("advance", transfer_id))
        return SimpleNamespace(kind="WAITING", delay_ms=self.delay_ms)

    def sweep(self) -> int:
        if self.down:
            raise StoreUnavailable("away")
        self.asked.append(("sweep",))
        return 1


@pytest.fixture
def treasury(monkeypatch: pytest.MonkeyPatch) -> Transfers:
    transfers = Transfers()
    monkeypatch.setattr(base.services, "_services", SimpleNamespace(treasury=transfers))
    return transfers


def test_a_beat_asks_for_a_check_and_a_sweep(treasury: Transfers) -> None:
    check.run()
    sweep.run()
    assert treasury.asked == [("check",), ("sweep",)]


def test_a_store_that_is_away_is_asked_again_by_the_next_beat(treasury: Transfers) -> None:
    treasury.down = True
    sweep.run()
    assert treasury.asked == []


def test_what_is_over_or_waits_for_people_is_not_asked_again(treasury: Transfers) -> None:
    assert call(advance, "t1").retried == []
    assert treasury.asked == [("advance", "t1")]


@pytest.mark.parametrize(("delay_ms", "least", "most"), [(0, 0, 0), (1_000, 1.0, 1.2), (25_000, 25.0, 30.0)])
def test_the_next_step_is_taken_when_it_is_due(treasury: Transfers, delay_ms: int, least: float, most: float) -> None:
    treasury.delay_ms = delay_ms
    face = Face()
    with pytest.raises(Retried):
        call(advance, "t1", face=face)
    [again] = face.retried
    assert least <= again["countdown"] <= most
    assert again["max_retries"] == 6


@pytest.mark.parametrize(("delay_ms", "retries"), [(31_000, 0), (1_000, 6)])
def test_whatever_takes_longer_is_the_sweeps(treasury: Transfers, delay_ms: int, retries: int) -> None:
    treasury.delay_ms = delay_ms
    assert call(advance, "t1", face=Face(retries=retries)).retried == []
