"""However often a position is asked for, one look at it is on its way at once, and one later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.engine.looks import Looks
from s6.model.operation import Operation
from tests.doubles.memory_redis import After, MemoryRedis
from tests.support.doubles import ManualClock


@dataclass
class Queue:
    """Celery's place: what was sent, (position, urgent, delay)."""

    sent: list[tuple[str, bool, int]] = field(default_factory=list)
    length: int | None = 0

    def evaluate(self, position_id: str, *, delay_ms: int = 0, attempt: int = 0) -> None:
        self.sent.append((position_id, False, delay_ms))

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        self.sent += [(position_id, False, 0) for position_id in position_ids]

    def protect(self, position_id: str) -> None:
        self.sent.append((position_id, True, 0))

    def execute(self, position_id: str, op: Operation) -> None: ...

    def resume(self, position_id: str, op: Operation) -> None: ...

    def waiting(self) -> int | None:
        return self.length


class Kit:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.redis = MemoryRedis(self.clock)
        self.queue = Queue()
        state = RedisState(cast(RedisClient, self.redis), self.clock)
        self.looks = Looks(self.queue, state, self.clock)


@pytest.fixture
def kit() -> Kit:
    return Kit()


def test_no_worker_for_ten_minutes_makes_one_urgent_task(kit: Kit) -> None:
    kit.queue.length = 1
    for _ in range(600):
        kit.looks.protect("p1")
        kit.looks.evaluate("p1")
        kit.looks.ask_again()
        kit.clock.now += 1_000
    assert kit.queue.sent == [("p1", True, 0)]


def test_a_wait_of_600_s_and_ten_crossings_a_second_make_one_pending_task(kit: Kit) -> None:
    for _ in range(100):  # each crossing is looked at, and each look asks to look again when the interval is over
        kit.looks.evaluate("p1")
        kit.looks.begin("p1")
        kit.looks.evaluate("p1", delay_ms=600_000)
        kit.clock.now += 100
    assert [sent for sent in kit.queue.sent if sent[2]] == [("p1", False, 30_000)]
    kit.clock.now += 20_000
    kit.looks.begin("p1")  # the delayed one
    kit.looks.evaluate("p1", delay_ms=570_000)
    assert [sent[2] for sent in kit.queue.sent if sent[2]] == [30_000, 30_000]


def test_jitter_of_the_due_time_makes_no_second_task(kit: Kit) -> None:
    for jitter in (20, 3, 11, 0):
        kit.looks.evaluate("p1", delay_ms=5_000 + jitter)
    assert len(kit.queue.sent) == 1


def test_an_urgent_look_overtakes_and_a_look_at_once_leaves_the_delayed_one(kit: Kit) -> None:
    kit.looks.evaluate("p1", delay_ms=5_000)
    kit.looks.evaluate("p1")
    kit.looks.protect("p1")
    kit.looks.protect("p1")
    kit.looks.evaluate("p1")
    assert kit.queue.sent == [("p1", False, 5_000), ("p1", False, 0), ("p1", True, 0)]
    kit.looks.begin("p1")
    kit.looks.evaluate("p1", delay_ms=5_000)
    assert len(kit.queue.sent) == 3
    kit.looks.evaluate("p1", delay_ms=1_000)
    assert kit.queue.sent[3:] == [("p1", False, 1_000)]


def test_what_is_asked_for_once_a_look_has_begun_is_another_look(kit: Kit) -> None:
    kit.looks.evaluate_many(["p1", "p2"])
    kit.looks.evaluate_many(["p1", "p2", "p3"])
    kit.looks.begin("p1")
    kit.looks.evaluate("p1")
    assert [name for name, _, _ in kit.queue.sent] == ["p1", "p2", "p3", "p1"]


def test_a_look_that_died_with_its_worker_is_asked_for_anew(kit: Kit) -> None:
    kit.looks.protect("p1")
    kit.looks.evaluate("p2")
    kit.looks.evaluate("p3", delay_ms=5_000)
    kit.queue.sent.clear()
    assert kit.looks.ask_again() == 0
    kit.clock.now += 2_000
    kit.queue.length = 1  # or None: nobody knows
    assert kit.looks.ask_again() == 0
    kit.queue.length = 0
    assert kit.looks.ask_again() == 2
    assert sorted(kit.queue.sent) == [("p1", True, 0), ("p2", False, 0)]
    assert kit.looks.ask_again() == 0
    kit.looks.begin("p1")
    kit.looks.begin("p2")
    kit.clock.now += 4_000
    assert kit.looks.ask_again() == 1
    assert kit.queue.sent[2:] == [("p3", False, 0)]


def test_a_look_that_died_is_asked_for_anew_though_others_keep_the_queue_filled(kit: Kit) -> None:
    kit.looks.protect("p1")
    kit.queue.sent.clear()
    kit.queue.length = 300
    kit.clock.now += 4_900
    assert kit.looks.ask_again(lambda: True) == 0
    kit.clock.now += 200
    assert kit.looks.ask_again(lambda: False) == 0  # without a worker there is nothing to ask
    assert kit.looks.ask_again(lambda: True) == 1
    assert kit.looks.ask_again(lambda: True) == 0  # at most once in 5 s
    assert kit.queue.sent == [("p1", True, 0)]


def test_looks_that_a_worker_gives_back_are_sent_anew(kit: Kit) -> None:
    kit.looks.evaluate_many(["p1", "p2"])
    kit.looks.hand_back(["p2"])
    assert [name for name, _, _ in kit.queue.sent] == ["p1", "p2", "p2"]


def test_with_redis_away_every_hint_is_sent(kit: Kit) -> None:
    def away(name: str, key: str, writes: bool) -> After:
        raise RedisConnectionError("away")

    kit.redis.hook = away
    kit.looks.evaluate("p1")
    kit.looks.protect("p1")
    kit.looks.evaluate_many(["p1", "p2"])
    kit.looks.evaluate("p1", delay_ms=500)
    assert len(kit.queue.sent) == 5


def test_nothing_is_left_of_a_look_that_has_begun(kit: Kit) -> None:
    kit.looks.protect("p1")
    kit.looks.evaluate("p1", delay_ms=500)
    kit.clock.now += 500
    kit.looks.begin("p1")
    assert not kit.redis.data.get(keys.LOOKS) and not kit.redis.data.get(keys.LOOKS_LATER)
