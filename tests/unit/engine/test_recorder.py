"""What a step has to tell people is written with the step: told at once, later where that fails, never twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_state import RedisState
from s6.adapters.redis_text import text
from s6.alerts.log import AlertLog
from s6.engine.outbox_relay import OutboxRelay
from s6.engine.recorder import Change, Recorder
from s6.model.commit import Alert, Commit, Loaded, QuotaMove
from s6.model.position import Position
from s6.model.types import Severity
from s6.ports import StateUnavailable
from s6.store import Store, open_store
from tests.support.doubles import ManualClock, MemoryMetrics

CLOCK = ManualClock()
HELD = Position("p-1", "BTCUSDT", "FUT", "LONG", qty=Decimal(1))
Told = tuple[Severity, str, str]
FATAL: Told = ("FATAL", "STOP_MOVE_FAILED", "two stops refused")
WARN: Told = ("WARN", "STOP_REFUSED", "the old price again")


class Killed(BaseException):
    """The process dies here."""


class State(RedisState):
    """Counts what happens after a commit, and lets the process die there."""

    relays = 0
    dies = False

    def relay_events(self, position_id: str, tell: Callable[[Alert], object]) -> int:
        self.relays += 1
        if self.dies:
            raise Killed
        return super().relay_events(position_id, tell)


class Services:
    def __init__(self, redis: RedisClient, store: Store) -> None:
        self.redis = text(redis)
        self.state = State(redis, CLOCK)
        self.book = AlertLog(redis, CLOCK, MemoryMetrics(), store)
        self.recorder = Recorder(self.state, self.book, MemoryMetrics())
        self.relay = OutboxRelay(self.state, store, self.book, CLOCK)

    def write(self, *alerts: Told, position: Position = HELD) -> Position | None:
        return self.recorder.write(Change(position, None, CLOCK.now, alerts=alerts))

    def told(self) -> list[tuple[str, str]]:
        """Severity and detail of each alert in the stream, the oldest first."""
        entries = reversed(self.redis.xrevrange("s6:alerts", count=100))
        return [(fields["severity"], fields["detail"]) for _, fields in entries]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path}/s6.db")
    store.init()
    yield store
    store.close()


@pytest.fixture
def services(redis_client: RedisClient, store: Store) -> Services:
    return Services(redis_client, store)


def test_a_fatal_stands_when_the_step_is_written(services: Services) -> None:
    assert services.write(WARN, FATAL) == replace(HELD, rev=1, ts=CLOCK.now, unprotected_since=CLOCK.now)
    assert services.told() == [("WARN", WARN[2]), ("FATAL", FATAL[2])]
    [alert_id] = services.book.standing_fatal()
    doc = services.book.get(alert_id)
    assert doc is not None
    assert (doc["position_id"], doc["ts"]) == ("p-1", CLOCK.now)
    assert services.relay.run() == 0
    assert len(services.told()) == 2
    assert services.state.outbox_ids(9) == []


def test_a_step_with_nothing_to_tell_asks_for_nothing_more(services: Services) -> None:
    assert services.write() is not None
    assert services.state.relays == 0
    assert services.state.outbox_ids(9) == []


def test_what_was_not_written_is_not_told(services: Services) -> None:
    assert services.write() is not None
    assert services.write(FATAL) is None  # somebody wrote first
    services.relay.run()
    assert services.told() == []


def test_a_process_that_dies_after_its_commit_has_told_all_the_same(services: Services) -> None:
    services.state.dies = True
    with pytest.raises(Killed):
        services.write(FATAL)
    assert services.told() == []
    services.state.dies = False
    services.relay.run()
    assert services.told() == [("FATAL", FATAL[2])]
    assert len(services.book.standing_fatal()) == 1


def test_a_relay_that_dies_when_it_has_told_tells_nothing_twice(services: Services) -> None:
    def told_and_died(alert: Alert) -> None:
        services.book.deliver(alert)
        raise Killed

    services.state.dies = True
    with pytest.raises(Killed):
        services.write(FATAL, WARN)
    services.state.dies = False
    with pytest.raises(Killed):
        services.state.relay_events("p-1", told_and_died)
    services.redis.delete(keys.relay_claim("p-1").key)  # as its time would
    services.relay.run()
    assert services.told() == [("FATAL", FATAL[2]), ("WARN", WARN[2])]
    assert [doc["repeats"] for doc in services.book.page(limit=9).items] == [0, 0]


def test_a_dead_relay_s_claim_holds_up_no_alert(services: Services, redis_client: RedisClient) -> None:
    redis_client.set(keys.relay_claim("p-1").key, "somebody who died")
    assert services.write(FATAL) is not None
    assert len(services.book.standing_fatal()) == 1
    redis_client.delete(keys.relay_claim("p-1").key)
    services.relay.run()
    assert services.told() == [("FATAL", FATAL[2])]
    assert services.state.outbox_ids(9) == []


def test_an_alert_that_can_t_be_told_waits_and_what_stands_behind_it(services: Services) -> None:
    def away(alert: Alert) -> None:
        raise StateUnavailable("away")

    move = QuotaMove("m", keys.budget("FUT"), Decimal(2))
    alert = Alert("al-1", 1, "ERROR", "OVERSELL", "p-1", "more than is held")
    assert services.state.commit(Commit(HELD, None, quotas=(move,), alerts=(alert,))) is not None
    with pytest.raises(StateUnavailable):
        services.state.relay_events("p-1", away)
    services.redis.delete(keys.relay_claim("p-1").key)
    got: list[Alert] = []
    assert services.state.relay_events("p-1", got.append) == 2
    assert got == [alert]
    assert services.state.quota(keys.budget("FUT")) == 2


def test_ids_follow_from_the_commit_s_place(services: Services) -> None:
    first = services.write(FATAL, WARN)
    assert first is not None
    services.write(("ERROR", "OVERSELL", "x"), position=first)
    services.write(FATAL, position=replace(HELD, position_id="p-2"))
    found = {str(doc["alert_id"]) for doc in services.book.page(limit=9).items}
    assert len(found) == 4
    assert all(alert_id.startswith(f"al-{CLOCK.now}-") for alert_id in found)


def test_on_a_cluster(cluster_url: str, store: Store) -> None:
    with connect(cluster_url) as redis:
        services = Services(redis, store)
        for number in range(6):
            assert services.write(FATAL, position=replace(HELD, position_id=f"p-{number}")) is not None
        services.state.dies = True
        with pytest.raises(Killed):
            services.write(FATAL, position=replace(HELD, position_id="p-9"))
        services.state.dies = False
        services.relay.run()
        services.relay.run()
        assert len(services.book.standing_fatal()) == len(services.told()) == 7
        assert services.state.outbox_ids(9) == []


def test_an_update_is_made_over_what_others_wrote_meanwhile(services: Services) -> None:
    services.write()
    seen: list[int] = []

    def paused(loaded: Loaded) -> Change:
        if not seen:
            services.recorder.write(Change(replace(loaded.position, mark=Decimal(7)), None, CLOCK.now))
        seen.append(loaded.position.rev)
        return Change(replace(loaded.position, paused=True), None, CLOCK.now, cause="a test")

    after = services.recorder.update("p-1", paused)
    assert seen == [1, 2]
    assert after is not None
    assert after == services.state.load("p-1")
    assert (after.position.rev, after.position.paused, after.position.mark) == (3, True, Decimal(7))


def test_an_update_gives_up_after_its_tries(services: Services) -> None:
    services.write()

    def outrun(loaded: Loaded) -> Change:
        services.recorder.write(Change(loaded.position, None, CLOCK.now))
        return Change(replace(loaded.position, paused=True), None, CLOCK.now)

    with pytest.raises(StateUnavailable, match="p-1 kept changing: others wrote first 3 times"):
        services.recorder.update("p-1", outrun, tries=3)
    loaded = services.state.load("p-1")
    assert loaded is not None
    assert (loaded.position.rev, loaded.position.paused) == (4, False)


def test_an_update_may_leave_a_position_as_it_is(services: Services) -> None:
    services.write()
    before = services.state.load("p-1")
    assert before is not None
    assert services.recorder.update("p-1", lambda loaded: None) == before
    assert services.recorder.update("p-2", lambda loaded: Change(loaded.position, None, CLOCK.now)) is None
    assert services.state.load("p-1") == before


def test_times_of_snapshots_never_run_back_where_clocks_differ(services: Services) -> None:
    """The process that writes second has a clock that is three seconds behind."""
    ahead = services.recorder.write(Change(HELD, None, CLOCK.now + 3_000, phase="RESULT", cause="one"))
    assert ahead is not None
    behind = services.recorder.write(
        Change(ahead, None, CLOCK.now, phase="AFTER", before=ahead, cause="two", alerts=(WARN,))
    )
    assert behind is not None and behind.ts == CLOCK.now + 3_000
    docs = services.state.outbox_peek("p-1", 9)
    assert [(doc["seq"], doc["ts"]) for doc in docs] == [(seq, CLOCK.now + 3_000) for seq in (1, 2, 3)]
    later = services.recorder.write(Change(behind, None, CLOCK.now + 5_000, phase="AFTER"))
    assert later is not None and later.ts == CLOCK.now + 5_000
