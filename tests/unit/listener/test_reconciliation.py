"""When a listener reconciles: once it is up, when the note is gone, and when Redis is another server than it was."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from s6 import keys
from s6.bootstrap import Services
from s6.listener.reconciliation import Reconciliation
from tests.support.desk import Desk
from tests.unit.given import bundle


def _nothing() -> None:
    """Nothing happens."""


class Listeners:
    """Listeners beside each other at one desk, and how often they have reconciled."""

    def __init__(self) -> None:
        self.desk = desk = Desk(bundle())
        self.runs = 0
        parts: dict[str, Any] = {
            "redis": desk.redis,
            "state": desk.state,
            "clock": desk.clock,
            "store": desk.store,
            "alerts": SimpleNamespace(restore_standing=lambda: 0),
            "cold_start": SimpleNamespace(run=self._run),
        }
        self.services = cast(Services, SimpleNamespace(**parts))
        self.during: Callable[[], None] = _nothing

    def _run(self) -> str:
        self.runs += 1
        self.during()
        return ""

    def one(self) -> Reconciliation:
        return Reconciliation(self.services)

    def done(self) -> bool:
        return self.desk.redis.do_get(keys.RECONCILED) is not None


@pytest.fixture
def listeners() -> Listeners:
    return Listeners()


def test_once_and_again_when_the_note_is_gone(listeners: Listeners) -> None:
    one = listeners.one()
    for _ in range(3):
        one.look()
    assert (listeners.runs, listeners.done()) == (1, True)
    listeners.desk.state.doubt()
    one.look()
    assert (listeners.runs, listeners.done()) == (2, True)


def test_another_server_is_reconciled_with_by_one_of_them(listeners: Listeners) -> None:
    first, second = listeners.one(), listeners.one()
    for listener in (first, second, first, second):
        listener.look()
    before = listeners.runs
    redis = listeners.desk.redis
    redis.fail_over(redis.copied())  # nothing is lost with it: the note is there
    assert listeners.done()
    for listener in (first, second, first, second):
        listener.look()
    assert (listeners.runs, listeners.done()) == (before + 1, True)


def test_a_failover_in_the_middle_is_seen_afterwards(listeners: Listeners) -> None:
    redis = listeners.desk.redis

    def fails_over() -> None:
        listeners.during = _nothing
        redis.fail_over(redis.copied())

    listeners.during = fails_over
    one = listeners.one()
    one.look()
    assert listeners.runs == 1
    one.look()
    one.look()
    assert (listeners.runs, listeners.done()) == (2, True)


def test_where_redis_does_not_say_who_it_is_the_note_stands(listeners: Listeners) -> None:
    listeners.desk.redis.do_info = lambda section: {}  # type: ignore[method-assign]
    one = listeners.one()
    for _ in range(3):
        one.look()
    assert (listeners.runs, listeners.done()) == (1, True)
