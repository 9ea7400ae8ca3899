"""How long each key lives: as it is meant, on a real server and on the memory that the simulation runs on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, cast

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient, connect
from s6.adapters.redis_state import RedisState
from s6.model.commit import Alert, Commit, QuotaMove
from s6.model.market import Features, Tick
from s6.model.operation import Operation
from s6.model.position import Order, Position
from tests.doubles.memory_redis import MemoryRedis
from tests.support.doubles import ManualClock

TEN_MINUTES: Final = 600_000
#: What of its time a key on a real server may have used up by the time it is asked for.
USED_UP: Final = 2_000
#: All that lasts for a while: a crossing, locks. Everything else stays until it is deleted.
EXPIRES: Final = {
    keys.crossing("p1"): TEN_MINUTES,
    "lock:pos:{p1}": 4_000,
    "lock:sweep": 15_000,
    "lock:reconcile": 3_000,
    "lock:relay": 10_000,
    "lock:treasury:SPOT:FUT": 6_000,
}
STAYS: Final = {
    keys.state("p1"), keys.stop("p1"), keys.ladder("p1"), keys.adds("p1"), keys.operation("p1"), keys.orders("p1"),
    keys.events_outbox("p1"), keys.snaps_outbox("p1"), keys.open_positions("BTCUSDT"), keys.market("BTCUSDT"),
    keys.features("BTCUSDT"), keys.POSITIONS, keys.SYMBOLS, keys.OPS, keys.OUTBOX, keys.PARKED, keys.REBUILT,
    keys.SWEEP_LAST, keys.ADDS_AT_WORK, keys.budget("FUT"), keys.quota_applied(keys.budget("FUT")),
}  # fmt: skip
POSITION: Final = Position("p1", "BTCUSDT", "FUT", "LONG", qty=Decimal("0.5"), sl_price=Decimal(43000), sl_order="SL-1")
ORDER: Final = Order("SL-1", "i-1", "SL", "SELL", "STOP_MARKET", Decimal(1), "NEW", 1, 1, True)
OPERATION: Final = Operation("1-1", "p1", "STOP_MOVE", "PLACE", "FIRST", 1, "sl-1", "SL-1")
EVENT: Final = {"event_id": "p1.1.ENTRY.1", "symbol": "BTCUSDT", "type": "ENTRY"}
SNAPSHOT: Final = {"_key": "p1:00000001", "position_id": "p1", "seq": 1, "phase": "RESULT"}


@dataclass
class Kit:
    """A state, and the Redis below it."""

    redis: Any
    state: RedisState

    def lives(self) -> dict[str, int]:
        """Every key, and for how long it is still there (ms); -1: for ever."""
        names = set(self.redis.scan_iter(match="*", count=1000)) - {keys.events("BTCUSDT")}  # a stream: it has a length
        return {key: self.redis.pttl(key) for key in names}


@pytest.fixture(params=["memory", "redis"])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    clock = ManualClock()
    if request.param == "memory":
        memory = MemoryRedis(clock)
        yield Kit(memory, RedisState(cast(RedisClient, memory), clock))
    else:
        with connect(request.getfixturevalue("redis_url")) as client:
            yield Kit(client, RedisState(client, clock))


def written(state: RedisState) -> None:
    """Everything that may be written, once."""
    change = Commit(
        POSITION,
        OPERATION,
        orders=(ORDER,),
        events=(EVENT,),
        snapshots=(SNAPSHOT,),
        quotas=(QuotaMove("m-1", keys.budget("FUT"), Decimal(7)),),
    )
    assert state.commit(change) is not None
    state.put_tick("BTCUSDT", Tick(1, Decimal(100), Decimal(99), Decimal(101)))
    state.put_features("BTCUSDT", Features(1, Decimal(2), "NORMAL"))
    for mark in (100, 110):  # the second one finds the first
        state.put_crossing("p1", Decimal(mark), 1)
    assert state.reserve_add("p1", "ADD-1", Decimal(3), limit=2, room=None)
    assert state.reserve_add("p2", "ADD-1", Decimal(3), limit=2, room=None)
    state.park("p9", {"position_id": "p9"}, 60_000)
    state.note_rebuilt("p1")
    state.note_sweep(1)
    state.quota_whole(keys.budget("FUT"))
    locks = (keys.SWEEP_LOCK, keys.RECONCILE_LOCK, keys.RELAY_LOCK, keys.treasury_lock("SPOT", "FUT"))
    assert all(state.lock(*lock) for lock in locks)
    token, _ = state.lock_and_load("p1", keys.position_lock("p1").ttl_ms)
    assert token is not None


def test_each_key_lives_as_long_as_it_is_meant_to(kit: Kit) -> None:
    written(kit.state)
    lives = kit.lives()
    assert {key for key, ms in lives.items() if ms == -1} == STAYS
    assert {key for key, ms in lives.items() if ms != -1} == EXPIRES.keys()
    assert {key: ms for key, ms in lives.items() if key in EXPIRES and not -USED_UP < ms - EXPIRES[key] <= 0} == {}


def test_a_lock_is_prolonged_by_its_holder_alone(kit: Kit) -> None:
    token = kit.state.lock("lock:long", 1_000)
    assert token is not None
    assert not kit.state.prolong("lock:long", "somebody else's", 60_000)
    assert kit.state.prolong("lock:long", token, 60_000)
    assert kit.lives()["lock:long"] > 50_000
    assert kit.state.unlock("lock:long", token)
    assert not kit.state.prolong("lock:long", token, 60_000)


def test_a_relay_s_claim_lives_for_five_seconds(kit: Kit) -> None:
    seen: list[int] = []
    claim = keys.relay_claim("p1").key
    alert = Alert("al-1", 1, "WARN", "ODD", "p1", "detail")
    assert kit.state.commit(Commit(POSITION, None, alerts=(alert,))) is not None
    kit.state.relay_events("p1", lambda told: seen.append(kit.redis.pttl(claim)))
    assert len(seen) == 1 and 5_000 - USED_UP < seen[0] <= 5_000
    assert kit.redis.pttl(claim) == -2


def test_what_expires_begins_anew_with_each_write(kit: Kit) -> None:
    kit.state.put_crossing("p1", Decimal(100), 1)
    kit.redis.pexpire(keys.crossing("p1"), 1_000)
    kit.state.put_crossing("p1", Decimal(110), 1)
    assert TEN_MINUTES - USED_UP < kit.redis.pttl(keys.crossing("p1")) <= TEN_MINUTES
