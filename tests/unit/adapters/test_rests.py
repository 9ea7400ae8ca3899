"""``Retry-After`` on questions: honoured by all processes, a minute at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import ConnectionError

from s6.adapters.http import Neighbour
from s6.ports import NeighbourUnavailable
from tests.support.doubles import MemoryBreaker, MemoryMetrics
from tests.support.http_server import HttpServer, Reply
from tests.unit.adapters.kept import Kept

QUESTIONS: dict[str, Callable[[Kept, Neighbour], object]] = {
    "order": lambda kept, neighbour: kept.s4(neighbour).query("c-1"),
    "balances": lambda kept, neighbour: kept.s1(neighbour).balances("USDT"),
}


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer(lambda asked: Reply(429, headers={"Retry-After": "7"})) as server:
        yield server


@pytest.fixture
def neighbour(server: HttpServer) -> Neighbour:
    return Neighbour("sX", server.url, MemoryBreaker(), MemoryMetrics())


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("wanted_s", "rest_ms", "alarms"), [(7, 7_000, 0), (60, 60_000, 0), (86_400, 60_000, 1)])
def test_no_process_puts_a_question_again_before_the_rest_is_over(
    ask: Callable[[Kept, Neighbour], object],
    status: int,
    wanted_s: int,
    rest_ms: int,
    alarms: int,
    server: HttpServer,
    neighbour: Neighbour,
) -> None:
    server.respond = lambda asked: Reply(status, headers={"Retry-After": str(wanted_s)})
    kept = Kept()
    for passed_ms, told_ms, asked in (
        (0, wanted_s * 1_000, 1),
        (0, rest_ms, 1),
        (rest_ms - 1, 1, 1),
        (1, wanted_s * 1_000, 2),
    ):
        kept.clock.now += passed_ms
        with pytest.raises(NeighbourUnavailable) as caught:
            ask(kept, neighbour)
        assert (caught.value.retry_after_ms, len(server.asked)) == (told_ms, asked)
    assert [alert[:2] for alert in kept.alerts.raised] == [("ERROR", "SX_RETRY_AFTER")] * 2 * alarms


def test_rest_from_one_question_is_none_from_another(server: HttpServer, neighbour: Neighbour) -> None:
    s4 = Kept().s4(neighbour)
    for name in ("c-1", "c-2"):
        with pytest.raises(NeighbourUnavailable):
            s4.query(name)
    assert [asked.path for asked in server.asked] == ["/orders/c-1", "/orders/c-2"]


def test_without_redis_a_question_is_put_all_the_same(server: HttpServer, neighbour: Neighbour) -> None:
    def away(name: str, key: str, writes: bool) -> None:
        raise ConnectionError("away")

    kept = Kept()
    kept.redis.hook = away
    for _ in range(2):
        with pytest.raises(NeighbourUnavailable):
            kept.s4(neighbour).query("c-1")
    assert len(server.asked) == 2
