"""When a listener reconciles: once it is up, when the note is gone, and when Redis is another server than it was."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from s6 import keys
from s6.adapters.redis_client import servers
from s6.bootstrap import Services
from s6.listener import reconciliation
from s6.listener.reconciliation import Reconciliation
from s6.ports import NeighbourUnavailable
from tests.support.desk import Desk
from tests.unit.given import bundle


def _nothing() -> None:
    """Nothing happens."""


class Listeners:
    """Listeners beside each other at one desk, and how often they have reconciled."""

    def __init__(self) -> None:
        self.desk = desk = Desk(bundle())
        self.runs = 0
        self.checked: list[list[str]] = []
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

    def _run(self, checked: set[str], gets_on: Callable[[], object]) -> str:
        self.runs += 1
        gets_on()
        self.checked.append(sorted(checked))
        checked.add(f"run-{self.runs}")
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


def test_what_breaks_off_goes_on_where_it_stood(listeners: Listeners) -> None:
    one = listeners.one()

    def unanswered() -> None:
        raise NeighbourUnavailable("s4", "no answer")

    listeners.during = unanswered
    for _ in range(3):
        one.look()
    assert listeners.checked == [[], ["run-1"], ["run-1", "run-2"]] and not listeners.done()
    listeners.during = _nothing
    one.look()
    assert listeners.done()
    listeners.desk.redis.do_delete(keys.RECONCILED)
    one.look()  # another reconciliation begins anew
    assert listeners.checked[3:] == [["run-1", "run-2", "run-3"], []]


@pytest.mark.parametrize("loss", ["emptied", "another server"])
def test_after_a_loss_nothing_counts_as_checked(listeners: Listeners, loss: str) -> None:
    one, redis = listeners.one(), listeners.desk.redis

    def unanswered() -> None:
        raise NeighbourUnavailable("s4", "no answer")

    listeners.during = unanswered
    one.look()
    if loss == "emptied":
        redis.data.clear()
    else:
        redis.fail_over(redis.copied())
    one.look()
    assert listeners.checked == [[], []]


def beats(listeners: Listeners, member: str, ts: int, pid: int = 0) -> None:
    """Another listener's heartbeat; it has our pid, unless another is named, and the name of our host."""
    body = json.dumps({"ts": ts, "pid": pid or os.getpid(), "host": socket.gethostname()})
    listeners.desk.redis.do_set(keys.process(member), body)
    listeners.desk.redis.do_sadd(keys.PROCESSES, member)


def test_a_listener_that_starts_beside_another_disturbs_nothing(listeners: Listeners) -> None:
    listeners.desk.redis.do_set(keys.RECONCILED, "1")
    listeners.desk.redis.do_set(keys.SERVERS, servers(cast(Any, listeners.desk.redis)))
    other = f"listener:{socket.gethostname()}-{os.getpid()}-abcd"
    beats(listeners, other, listeners.desk.clock.now - 2_500)
    one = listeners.one()
    assert not one.begun
    one.look()
    assert (one.begun, listeners.runs, listeners.done()) == (True, 0, True)
    beats(listeners, other, listeners.desk.clock.now)
    for _ in range(3):
        one.look()
    assert (listeners.runs, listeners.desk.redis.do_get(keys.RECONCILED)) == (0, "1")
    listeners.desk.state.doubt()
    one.look()
    assert (listeners.runs, listeners.done()) == (1, True)


def test_the_last_heartbeat_of_a_dead_listener_holds_nothing_up_for_long(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(reconciliation, "time", time)
    listeners.desk.redis.do_set(keys.RECONCILED, "1")
    beats(listeners, "listener:gone", listeners.desk.clock.now)
    one = listeners.one()
    one.look()
    beats(listeners, "listener:starts as well", 1)  # it began after us, and leaves the reconciling to us
    beats(listeners, "listener:starts as well", 2)
    time.monotonic = lambda: 100.0 + reconciliation.HEARD_S - 0.1
    one.look()
    assert (listeners.runs, listeners.done()) == (0, True)
    time.monotonic = lambda: 100.0 + reconciliation.HEARD_S
    one.look()
    assert (listeners.runs, listeners.done()) == (1, True)
    assert listeners.desk.redis.do_get(keys.RECONCILED) != "1"


def test_a_listener_whose_heartbeats_are_old_is_not_waited_for(listeners: Listeners) -> None:
    listeners.desk.redis.do_set(keys.RECONCILED, "1")
    beats(listeners, "listener:gone", listeners.desk.clock.now - 2_501)
    listeners.one().look()
    assert (listeners.runs, listeners.done()) == (1, True)
    assert listeners.desk.redis.do_get(keys.RECONCILED) != "1"


def test_a_listener_that_was_killed_on_this_host_is_not_waited_for(listeners: Listeners) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    listeners.desk.redis.do_set(keys.RECONCILED, "1")
    beats(listeners, "listener:gone", listeners.desk.clock.now, ended.pid)
    listeners.one().look()
    assert (listeners.runs, listeners.done()) == (1, True)
    assert listeners.desk.redis.do_get(keys.RECONCILED) != "1"


def test_another_server_is_noticed_at_once_even_while_a_dead_listener_may_be_alive(listeners: Listeners) -> None:
    listeners.one().look()
    redis, runs = listeners.desk.redis, listeners.runs
    redis.fail_over(redis.copied())
    beats(listeners, "listener:gone", listeners.desk.clock.now)
    listeners.one().look()
    assert (listeners.runs, listeners.done()) == (runs + 1, True)


def test_the_lock_is_held_on_as_long_as_the_work_gets_on(listeners: Listeners, monkeypatch: pytest.MonkeyPatch) -> None:
    time = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(reconciliation, "time", time)
    asked: list[int] = []
    state = listeners.services.state
    monkeypatch.setattr(state, "prolong", lambda key, token, ttl_ms: asked.append(ttl_ms))
    gets_on = listeners.one()._prolonging("token")
    gets_on()
    assert asked == []
    time.monotonic = lambda: 101.0 + reconciliation.PROLONG_S
    gets_on()
    gets_on()
    assert asked == [keys.RECONCILE_LOCK.ttl_ms]
