"""Several listeners, one group: whoever has them, results of one position are booked in the order of their stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, cast

import pytest
from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.clock import SystemClock
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient, connect
from s6.engine.results import Applied, Contended
from s6.engine.results_batch import ResultsBatch, Told
from s6.listener import results_consumer as module
from s6.listener.group import GROUP, GroupReader
from s6.listener.results_consumer import ResultsConsumer
from s6.listener.streams import Entry
from s6.ports import StateUnavailable
from tests.support.doubles import MemoryAlerts
from tests.support.waiting import wait_for

SYMBOL, OTHER = "BTCUSDT", "ETHUSDT"
STREAM = keys.RESULTS + SYMBOL


class NoBundle:
    latest = None

    def current(self) -> None:
        return None


class Books:
    """Stands for ``ResultsBatch``: writes down what is applied; ``trouble`` is asked first, and may raise."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.trouble: Callable[[str], object] = lambda name: None

    @property
    def results(self) -> Books:
        return self

    def apply(self, told: Sequence[Told]) -> list[Applied | Exception]:
        outcomes: list[Applied | Exception] = []
        stopped = set[str]()
        for result, _ in told:
            name = result.position_id
            if name in stopped:
                outcomes.append(Contended(name))
                continue
            try:
                self.trouble(result.client_order_id)
                self.applied.append(result.client_order_id)
                outcomes.append("APPLIED")
            except (RedisError, StateUnavailable):
                raise
            except Exception as error:
                stopped.add(name)
                outcomes.append(error)
        return outcomes

    def give_up_overdue(self) -> int:
        return 0


class Group:
    """A Redis of either kind, one set of books, and as many consumers as are asked for."""

    def __init__(self, redis: RedisClient) -> None:
        self.redis: Any = redis
        self.books = Books()
        self.alerts = MemoryAlerts()
        self.redis.sadd(keys.SYMBOLS, SYMBOL, OTHER)

    def consumer(self, name: str) -> ResultsConsumer:
        results, bundles = cast(ResultsBatch, self.books), cast(Any, NoBundle())
        return ResultsConsumer(self.redis, name, results, bundles, self.alerts, Reader(SystemClock(), bundles))

    def reader(self, name: str) -> GroupReader:
        """A listener that has read and does no more."""
        return GroupReader(self.redis, name)

    def add(self, *names: str, symbol: str = SYMBOL) -> list[str]:
        """Results whose orders bear these names; what is before the dot names the position. Their ids."""
        return [self.redis.xadd(keys.RESULTS + symbol, result(name, symbol)) for name in names]

    def pending(self, symbol: str = SYMBOL) -> dict[str, tuple[str, int]]:
        """By id: who has it, how often it was delivered."""
        rows = self.redis.xpending_range(keys.RESULTS + symbol, GROUP, "-", "+", 1000)
        return {row["message_id"]: (row["consumer"], row["times_delivered"]) for row in rows}


def result(name: str, symbol: str = SYMBOL) -> dict[str, str]:
    return {
        "ts": "1700000000000",
        "symbol": symbol,
        "market": "FUT",
        "position_id": name.partition(".")[0],
        "client_order_id": name,
        "kind": "ENTRY",
        "side": "BUY",
        "type": "MARKET",
        "status": "NEW",
        "qty": "1",
    }


@pytest.fixture(params=["single", "cluster"])
def group(request: pytest.FixtureRequest) -> Iterator[Group]:
    url = request.getfixturevalue("redis_url" if request.param == "single" else "cluster_url")
    with closing(connect(url, blocking=True)) as redis:
        yield Group(redis)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left behind, however slow the machine."""
    monkeypatch.setattr(module, "IDLE_MS", 60_000)


@pytest.fixture
def hasty(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands still for a moment is left behind."""
    monkeypatch.setattr(module, "IDLE_MS", 20)
    monkeypatch.setattr(module, "CLAIM_EVERY_S", 0.01)


def go_on(*consumers: ResultsConsumer, until: Callable[[], object]) -> None:
    """Let them take turns until something is true."""

    def looked() -> bool:
        for consumer in consumers:
            consumer.round()
        return bool(until())

    wait_for(looked, 10)


def read_one(group: Group, name: str) -> Entry:
    """A listener of that name gets what is new, and is held up."""
    [entry] = group.reader(name).read([STREAM])
    return entry


def test_the_later_result_waits_for_the_earlier_one(group: Group) -> None:
    group.add("p.1")
    first = read_one(group, "a")
    group.add("p.2", "q.1", "p.3")
    group.add("r.1", symbol=OTHER)
    b = group.consumer("b")
    go_on(b, until=lambda: len(group.books.applied) >= 2)
    for _ in range(3):
        b.round()
    assert sorted(group.books.applied) == ["q.1", "r.1"]
    group.books.applied.append("p.1")
    group.reader("a").done([first])
    b.round()
    assert group.books.applied[2:] == ["p.1", "p.2", "p.3"]
    assert group.pending() == group.pending(OTHER) == {}


def test_each_waits_for_the_other(group: Group) -> None:
    """They get them by turns, and none of them is to go on before its predecessor."""
    a, b = group.consumer("a"), group.consumer("b")
    held = []
    for number in range(6):
        group.add(f"p.{number}")
        consumer = (a, b)[number % 2]
        held.append(consumer._order.hold(consumer._reader.read([STREAM])))
    assert held == [{STREAM}] * 6
    go_on(b, a, until=lambda: not group.pending())
    assert group.books.applied == [f"p.{number}" for number in range(6)]


def test_what_a_dead_one_had_goes_first(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.add("p.1")
    read_one(group, "dead")
    group.add("p.2", "q.1")
    b = group.consumer("b")
    b.round()
    assert group.books.applied == ["q.1"]
    monkeypatch.setattr(module, "IDLE_MS", 100)
    go_on(b, until=lambda: not group.pending())
    assert group.books.applied == ["q.1", "p.1", "p.2"]


def test_who_waits_does_not_seem_dead(group: Group) -> None:
    """Its results are not claimed by others, and their waiting counts as no delivery."""
    idle_ms = 1_000
    group.add("p.1")
    first = read_one(group, "slow")
    [second] = group.add("p.2")
    b, slow = group.consumer("b"), group.reader("slow")
    b.round()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        b.round()
        slow.keep({STREAM: [first.entry_id]})
        assert group.reader("c").left_behind([STREAM], idle_ms) == []
    assert group.pending() == {first.entry_id: ("slow", 1), second: ("b", 1)}
    assert group.books.applied == []
    slow.done([first])
    b.round()
    assert group.books.applied == ["p.2"]


def test_what_another_has_claimed_is_the_others(group: Group) -> None:
    group.add("p.1")
    first = read_one(group, "a")
    [second] = group.add("p.2")
    b = group.consumer("b")
    b._order.hold(b._reader.read([STREAM]))
    [claimed] = [e for e in group.reader("c").left_behind([STREAM], 0) if e.entry_id == second]
    b.round()
    group.reader("c").done([first])
    b.round()
    assert group.books.applied == []
    assert not b._order.waiting
    group.reader("c").done([claimed])
    assert group.pending() == {}


@pytest.mark.usefixtures("hasty")
def test_a_poison_stops_its_position_for_a_while_and_no_other(group: Group) -> None:
    tried = []

    def trouble(name: str) -> None:
        if name == "p.1":
            tried.append(name)
            raise ZeroDivisionError("a defect")

    group.books.trouble = trouble
    group.add("p.1", "p.2", "q.1")
    b = group.consumer("b")
    go_on(b, until=lambda: group.books.applied)
    assert group.books.applied == ["q.1"]
    go_on(b, until=lambda: not group.pending())
    assert group.books.applied == ["q.1", "p.2"]
    assert len(tried) == module.DELIVERIES
    assert [letter[0] for letter in group.alerts.letters] == [STREAM]
    assert [alert[1] for alert in group.alerts.raised] == ["POISON_RESULT"]


@pytest.mark.usefixtures("hasty")
def test_what_is_left_for_later_is_not_overtaken(group: Group) -> None:
    left = iter([True, True, False])

    def trouble(name: str) -> None:
        if name == "p.2" and next(left):
            raise Contended("p")

    group.books.trouble = trouble
    group.add("p.1", "p.2", "p.3", "p.4")
    a, b = group.consumer("a"), group.consumer("b")
    go_on(a, b, until=lambda: not group.pending())
    assert group.books.applied == ["p.1", "p.2", "p.3", "p.4"]


def test_malformed_ones_stop_nothing_and_are_stopped_by_nothing(group: Group) -> None:
    group.redis.xadd(STREAM, {"what": "ever"})
    read_one(group, "a")
    group.add("p.1")
    group.redis.xadd(STREAM, {"what": "else"})
    b = group.consumer("b")
    b.round()
    assert group.books.applied == ["p.1"]
    assert len(group.alerts.letters) == 1
    assert len(group.pending()) == 1


def test_a_trimmed_one_stops_nothing(group: Group) -> None:
    [first] = group.add("p.1")
    read_one(group, "a")
    group.redis.xdel(STREAM, first)
    group.add("p.2")
    group.consumer("b").round()
    assert group.books.applied == ["p.2"]


def test_more_is_pending_than_one_look_shows(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s6.listener.group.LOOK", 3)
    monkeypatch.setattr("s6.listener.sequencer.LOOK", 3)
    group.add(*(f"p.{number}" for number in range(5)))
    a = group.reader("a")
    entries = a.read([STREAM])
    group.add(*(f"p.{number}" for number in range(5, 10)))
    b = group.consumer("b")
    b.round()
    for entry in entries:
        assert group.books.applied == []
        a.done([entry])
    go_on(b, until=lambda: not group.pending())
    assert group.books.applied == [f"p.{number}" for number in range(5, 10)]


def test_what_waits_is_no_more_than_a_batch(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s6.listener.group.COUNT", 3)
    monkeypatch.setattr("s6.listener.sequencer.COUNT", 3)
    group.add("p.0")
    first = read_one(group, "a")
    group.add(*(f"p.{number}" for number in range(1, 10)))
    b = group.consumer("b")
    for _ in range(5):
        b.round()
    assert [who for who, _ in group.pending().values()] == ["a", "b", "b", "b"]
    group.reader("a").done([first])
    go_on(b, until=lambda: len(group.books.applied) == 9)
    assert group.books.applied == [f"p.{number}" for number in range(1, 10)]


@pytest.mark.parametrize("whole", [True, False])
def test_redis_came_back_without_its_groups(group: Group, whole: bool) -> None:
    """The group alone is gone, or the stream with it: all comes again, and none before its predecessor."""
    group.add("p.1")
    read_one(group, "a")
    group.add("p.2")
    b = group.consumer("b")
    b.round()
    assert b._order.waiting
    if whole:
        group.redis.delete(STREAM)
        group.add("p.1", "p.2")
    else:
        group.redis.xgroup_destroy(STREAM, GROUP)
    go_on(b, until=lambda: len(group.books.applied) >= 2)
    b.round()
    assert group.books.applied == ["p.1", "p.2"]
    assert group.pending() == {}


def test_alone_it_asks_once_for_a_batch_and_not_without_one(redis_client: RedisClient) -> None:
    group = Group(redis_client)
    b = group.consumer("b")
    b.round()

    def asked() -> list[int]:
        stats = group.redis.info("commandstats")
        return [stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("xpending", "xrange")]

    before = asked()
    b.round()
    assert asked() == before
    group.add(*(f"p.{number}" for number in range(50)))
    b.round()
    assert len(group.books.applied) == 50
    assert asked() == [before[0] + 1, before[1]]


def test_consumers_that_are_gone_are_deleted_unless_they_hold_something(group: Group) -> None:
    group.add("p.1")
    read_one(group, "holds")
    group.reader("gone").read([STREAM], hurried=True)
    group.add("q.1")
    b = group.consumer("b")
    b.round()
    assert b._reader.tidy([STREAM, keys.RESULTS + "NEVERUSDT"], module.GONE_MS) == 0
    assert b._reader.tidy([STREAM], 0) >= 1
    left = {c["name"] for c in group.redis.xinfo_consumers(STREAM, GROUP)}
    assert left == {"holds", "b"}
    assert [who for who, _ in group.pending().values()] == ["holds"]


def test_the_dead_are_deleted_in_passing(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    group.add("p.1")
    dead = group.reader("dead")
    dead.done(dead.read([STREAM]))
    group.consumer("b").round()
    assert "dead" in {c["name"] for c in group.redis.xinfo_consumers(STREAM, GROUP)}
    monkeypatch.setattr(module, "GONE_MS", 1)
    wait_for(lambda: group.redis.xinfo_consumers(STREAM, GROUP)[0]["idle"] > 1, 5)
    group.consumer("b").round()
    assert {c["name"] for c in group.redis.xinfo_consumers(STREAM, GROUP)} <= {"b"}
