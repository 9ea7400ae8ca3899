"""A store that hangs holds up no stop: the first birth waits a moment for it, those that follow not at all."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from s6.ports import StateUnavailable
from s6.recovery.prompt import REST_S, PromptRecovery
from s6.store import StoreUnavailable
from tests.support.desk import Desk
from tests.unit.given import bundle, result


@dataclass
class Rebuilder:
    """``release`` lets a store that hangs answer."""

    hangs: bool = False
    traced: bool = False
    knows: bool = True
    lost: bool = True
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    def may_be_lost(self, position_id: str) -> bool:
        return self.lost

    def restore(self, position_id: str) -> bool:
        return self.traced

    def rebuild(self, position_id: str) -> bool:
        self.asked.append(position_id)
        if self.error is not None:
            raise self.error
        if self.hangs:
            self.release.wait(30)
        return self.knows


def test_what_the_store_gives_back_is_there() -> None:
    rebuilder = Rebuilder()
    assert PromptRecovery(rebuilder)("p1")
    rebuilder.lost = False
    assert not PromptRecovery(rebuilder)("p2")
    assert rebuilder.asked == ["p1"]


@pytest.mark.parametrize("traced", [True, False])
def test_what_a_pruned_store_no_longer_has_is_restored_by_its_trace(traced: bool) -> None:
    assert PromptRecovery(Rebuilder(knows=False, traced=traced))("p1") is traced


@pytest.mark.parametrize("error", [StoreUnavailable("away"), StateUnavailable("away")])
def test_what_fails_says_so_and_is_asked_again(error: Exception) -> None:
    rebuilder = Rebuilder(error=error)
    recovery = PromptRecovery(rebuilder)
    for _ in range(2):
        with pytest.raises(type(error), match="away"):
            recovery("p1")
    assert rebuilder.asked == ["p1", "p1"]


def test_a_store_that_hangs_is_waited_for_once_and_asked_again_after_a_rest() -> None:
    rebuilder, now = Rebuilder(hangs=True), [100.0]
    recovery = PromptRecovery(rebuilder, lambda: now[0], patience_s=0.05)
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            recovery("p1")
    assert rebuilder.asked == ["p1"]
    rebuilder.release.set()
    now[0] += REST_S
    assert recovery("p1")
    assert rebuilder.asked == ["p1", "p1"]


def test_what_has_left_redis_is_restored_by_its_trace_when_the_store_does_not_answer() -> None:
    rebuilder = Rebuilder(hangs=True, traced=True)
    recovery = PromptRecovery(rebuilder, patience_s=0.05)
    assert recovery("p1") and recovery("p2")
    assert rebuilder.asked == ["p1"]
    rebuilder.release.set()


def test_twenty_entries_while_not_reconciled_ask_for_their_stops_at_once() -> None:
    desk = Desk(bundle())
    release = threading.Event()

    def hangs(name: str, key: str, writes: bool) -> None:
        release.wait(30)

    desk.store.hook = hangs
    desk.results._recover = PromptRecovery(desk.rebuilder)
    began = time.monotonic()
    for number in range(20):
        desk.results.apply(result(position_id=f"p{number}", client_order_id=f"e{number}"), {})
    took = time.monotonic() - began
    release.set()
    assert desk.hints.protected == [f"p{number}" for number in range(20)]
    assert took < 1.0
