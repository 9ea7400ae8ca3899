"""The shared breaker: when a neighbour counts as down, and how it comes back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from s6.adapters.breaker import SharedBreaker
from s6.adapters.redis_client import RedisClient, connect
from tests.support.doubles import ManualClock

Change = tuple[str, bool, str]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def changes() -> list[Change]:
    return []


@pytest.fixture
def breaker(redis_client: RedisClient, clock: ManualClock, changes: list[Change]) -> SharedBreaker:
    return SharedBreaker(redis_client, clock, lambda *change: changes.append(change))


@pytest.fixture
def elsewhere(redis_client: RedisClient, clock: ManualClock, changes: list[Change]) -> SharedBreaker:
    """Another process's."""
    return SharedBreaker(redis_client, clock, lambda *change: changes.append(change))


def fresh(breaker: SharedBreaker, name: str = "s4") -> bool:
    """What it says without its short memory."""
    breaker._known.clear()
    return breaker.is_down(name)


def test_calls_of_all_processes_count_together(
    breaker: SharedBreaker, elsewhere: SharedBreaker, changes: list[Change]
) -> None:
    assert not breaker.is_down("s4")
    breaker.failed("s4", "HTTP 500")
    elsewhere.failed("s4", "HTTP 502")
    assert not fresh(breaker)
    breaker.failed("s4", "HTTP 503")
    assert fresh(breaker)
    assert fresh(elsewhere)
    assert not fresh(breaker, "s1")
    assert changes == [("s4", True, "HTTP 503")]
    assert breaker.state("s4").detail == "HTTP 503"


def test_a_call_that_succeeds_closes_it_at_once(
    breaker: SharedBreaker, elsewhere: SharedBreaker, changes: list[Change]
) -> None:
    for _ in range(4):
        breaker.failed("s4", "x")
    elsewhere.succeeded("s4", 12)
    assert not fresh(breaker)
    assert breaker.state("s4").latency_ms == 12
    assert [down for _, down, _ in changes] == [True, False]


def test_a_success_in_between_breaks_the_row(breaker: SharedBreaker) -> None:
    for _ in range(4):
        breaker.failed("s4", "x")
        breaker.failed("s4", "x")
        breaker.succeeded("s4", 1)
    assert not fresh(breaker)


def test_failures_far_apart_are_no_row(breaker: SharedBreaker, clock: ManualClock) -> None:
    for _ in range(6):
        breaker.failed("s4", "x")
        clock.now += 61_000
    assert not fresh(breaker)


def test_two_failed_probes_in_a_row_and_one_good_one(breaker: SharedBreaker, changes: list[Change]) -> None:
    breaker.probed("s4", None, "refused")
    assert not fresh(breaker)
    breaker.probed("s4", None, "refused")
    assert fresh(breaker)
    breaker.probed("s4", 3)
    assert not fresh(breaker)
    assert [down for _, down, _ in changes] == [True, False]


def test_a_health_page_that_is_well_alone_does_not_close_it(breaker: SharedBreaker, clock: ManualClock) -> None:
    for _ in range(3):
        breaker.failed("s4", "HTTP 503")
    for _ in range(5):
        clock.now += 2_000
        breaker.probed("s4", 3)
        breaker.failed("s4", "HTTP 503")
        assert fresh(breaker)


def test_a_neighbour_that_nobody_calls_is_found_well_within_15_s(breaker: SharedBreaker, clock: ManualClock) -> None:
    for _ in range(3):
        breaker.failed("s1", "x")
    waited = 0
    while fresh(breaker, "s1"):
        clock.now, waited = clock.now + 4_000, waited + 4_000
        breaker.probed("s1", 3)
        assert waited <= 12_000
    breaker.failed("s1", "still not")
    assert fresh(breaker, "s1")  # on trial: one failure is enough


def test_calls_that_succeed_do_not_hide_failing_probes(breaker: SharedBreaker, changes: list[Change]) -> None:
    for _ in range(3):
        breaker.probed("s4", None, "HTTP 404")
        breaker.succeeded("s4", 1)
    assert fresh(breaker)
    assert len(changes) == 1


def test_a_healthy_neighbour_costs_no_writes(
    breaker: SharedBreaker, redis_client: RedisClient, clock: ManualClock
) -> None:
    breaker.succeeded("s4", 1)
    written = redis_client.hgetall("s6:neighbour:s4")
    clock.now += 100
    for _ in range(50):
        breaker.succeeded("s4", 2)
    assert redis_client.hgetall("s6:neighbour:s4") == written


@pytest.fixture
def nowhere() -> Iterator[RedisClient]:
    with connect("redis://127.0.0.1:1/0") as client:
        yield client


def test_without_redis_the_last_word_holds(nowhere: RedisClient, clock: ManualClock) -> None:
    breaker = SharedBreaker(nowhere, clock)
    assert not breaker.is_down("s4")
    for _ in range(5):
        breaker.failed("s4", "x")
    breaker.succeeded("s4", 1)
    breaker.probed("s4", None, "x")
    assert not breaker.is_down("s4")


def test_on_a_cluster(cluster_url: str, clock: ManualClock) -> None:
    with connect(cluster_url) as client:
        breaker = SharedBreaker(client, clock)
        for name in ("s1", "s4", "s10", "s12"):
            for _ in range(3):
                breaker.failed(name, "x")
            assert fresh(breaker, name)
            breaker.succeeded(name, 1)
            assert not fresh(breaker, name)


def test_a_clock_set_back_an_hour_keeps_no_neighbour_down(breaker: SharedBreaker, clock: ManualClock) -> None:
    for _ in range(3):
        breaker.failed("s4", "HTTP 503")
    assert fresh(breaker)
    clock.now -= 3_600_000
    breaker.probed("s4", 5)
    assert not fresh(breaker)
