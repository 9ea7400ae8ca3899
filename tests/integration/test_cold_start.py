"""S6 comes up in any order and finds its way, whatever Redis has lost (CONTRACT §9.8)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.exceptions import RedisError

from s6.adapters.redis_client import connect
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.governed import START, Governed, governed
from tests.support.procs import CORE, S6Processes
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_emptied_redis_is_filled_again_from_the_store_and_checked_against_s4(
    s6_processes: S6Processes, own_redis: EmbeddedRedis
) -> None:
    with governed(s6_processes) as world:
        names = world.enter(4)
        spot = world.enter(1, market="SPOT", leverage=1)
        gone = world.enter(1)
        world.protected(names + gone)
        world.walk(40_300, 40_600)
        world.paper.manual_close(gone[0])
        wait_for(lambda: world.state(gone[0])["status"] == "CLOSED", 10, "the close")
        world.settled()
        before = {name: world.state(name) for name in names + spot}

        for at_once in (False, True):  # under running processes, then at rest
            if at_once:
                for name in CORE:
                    s6_processes[name].kill()
            own_redis.client().flushall()
            world.paper.raw("prod:nothing", x="y")  # others write on
            if at_once:
                world.paper.manual_close(names[0])  # its result comes while S6 is down
                s6_processes.start(*CORE)
            wait_for(lambda: world.redis.exists("s6:reconciled"), 30, "reconciled", every=0.1)
            s6_processes.ready().healthy()
            world.protected(names[at_once:])
            world.settled()
        state = world.state(names[0])
        assert (state["status"], state["qty"]) == ("CLOSED", "0")
        for name in names[1:] + spot:
            after = world.state(name)
            for field in ("qty", "entry_price_avg", "realized_pnl_usdt", "q0", "life", "sl_price", "sl_order"):
                assert after[field] == before[name][field], (name, field)
        assert world.faults(emptied=True) == []

        world.tick(30_000)
        for name in names[1:] + spot:
            wait_for(lambda name=name: world.state(name)["status"] == "CLOSED", 20, "closed")  # type: ignore[misc]
        world.settled()
        assert world.faults(emptied=True) == []


@pytest.mark.parametrize("running", [False, True], ids=["at rest", "under running processes"])
def test_what_was_sent_after_the_last_snapshot_is_found_by_its_id(
    s6_processes: S6Processes, own_redis: EmbeddedRedis, running: bool
) -> None:
    """The store was away while stops moved on; then Redis was emptied: nobody but S4 knows of the newest stops."""
    with governed(s6_processes) as world:
        names = world.enter(2)
        world.protected(names)
        world.settled()
        world.redis.set("lock:relay", "held by the test", px=600_000)  # snapshots wait
        world.walk(40_300, 40_600, 40_900, pause_s=1.0)
        world.protected(names)
        assert world.redis.llen(f"pos:outbox:{{{names[0]}}}:snaps")
        for name in CORE if not running else ():
            s6_processes[name].kill()
        own_redis.client().flushall()
        world.tick(40_900)
        if not running:
            s6_processes.start(*CORE)
        wait_for(lambda: world.redis.exists("s6:reconciled"), 40, "reconciled", every=0.1)
        s6_processes.ready().healthy()
        world.protected(names)
        world.settled()
        assert {world.state(name)["unverified_from"] for name in names} == {"0"}
        assert world.faults(emptied=True) == []


def test_what_a_replica_has_only_as_it_was_is_brought_up_to_date(s6_processes: S6Processes) -> None:
    """A replica takes over that lacks the newest moves of the stops: the store and S4 know better."""
    with governed(s6_processes) as world:
        names = world.enter(2)
        world.protected(names)
        world.settled()
        keys = [key for name in names for key in world.redis.scan_iter(f"pos:*:{{{name}}}*")]
        raw = bytes_of(s6_processes)
        replica = {key: raw.dump(key) for key in keys}
        world.walk(40_300, 40_600, 40_900, pause_s=0.7)
        world.settled()
        ahead = {name: world.state(name) for name in names}
        assert all(int(ahead[name]["seq"]) > 6 for name in names)
        for name in CORE:
            s6_processes[name].kill()
        for key in [key for name in names for key in world.redis.scan_iter(f"pos:*:{{{name}}}*")]:
            world.redis.delete(key)
        for key, value in replica.items():
            raw.restore(key, 0, value)
        assert all(int(world.state(name)["seq"]) < int(ahead[name]["seq"]) for name in names)
        world.redis.delete("s6:reconciled")
        s6_processes.start("listener")
        wait_for(lambda: world.redis.exists("s6:reconciled"), 40, "reconciled", every=0.1)
        for name in names:
            after = world.state(name)
            same = ("qty", "entry_price_avg", "realized_pnl_usdt", "q0", "life", "sl_price", "sl_order", "status")
            assert {field: after[field] for field in same} == {field: ahead[name][field] for field in same}
            assert int(after["rev"]) > int(ahead[name]["rev"]) and after["unverified_from"] == "0"
        s6_processes.start("web", "worker", "beat")
        s6_processes.ready().healthy()
        world.walk(41_200, 41_500, pause_s=0.7)
        world.protected(names)
        world.settled()
        assert world.faults() == []
        assert len(world.alerts("REBUILT")) == 1


def bytes_of(s6_processes: S6Processes) -> Any:
    """A client whose values are bytes."""
    return connect(s6_processes.env["S6_REDIS_URL"], decode_responses=False)


def test_a_redis_that_was_restarted_is_reconciled_with_by_itself(
    s6_processes: S6Processes, own_redis: EmbeddedRedis
) -> None:
    with governed(s6_processes) as world:
        names = world.enter(2)
        world.protected(names)
        world.settled()
        before = world.redis.get("s6:reconciled:servers")
        own_redis.stop()
        own_redis.start()
        wait_for(lambda: _servers(world) not in (None, before), 40, "reconciled with the new server", every=0.2)
        s6_processes.ready().healthy()
        world.protected(names)
        world.settled()
        assert world.alerts("REBUILT") == []
        assert world.faults() == []


def _servers(world: Governed) -> object:
    try:
        return world.redis.get("s6:reconciled:servers")
    except RedisError:
        return None


def test_positions_that_vanish_from_redis_are_missed_and_rebuilt(s6_processes: S6Processes) -> None:
    with governed(s6_processes) as world:
        names = world.enter(4)
        world.protected(names)
        world.settled()
        before = [world.state(name) for name in names]
        world.redis.delete(f"pos:state:{{{names[0]}}}")
        for prefix in ("pos:state", "pos:sl:level", "pos:tp:ladder", "pos:adds", "pos:orders"):
            world.redis.delete(f"{prefix}:{{{names[1]}}}")
        world.paper.manual_close(names[1], "0.04")
        wait_for(lambda: world.state(names[1]).get("qty") == "0.06", 40, "rebuilt, and the close applied")
        wait_for(lambda: world.state(names[0]), 40, "rebuilt")
        world.protected(names)
        world.settled()
        assert world.state(names[0])["sl_order"] == before[0]["sl_order"]
        assert world.faults() == []


def test_torn_keys_are_mended_when_s6_starts(s6_processes: S6Processes) -> None:
    """Of the last one nothing is heard meanwhile: no result and no tick has its keys written again."""
    torn = ("pos:sl:level", "pos:tp:ladder", "pos:adds", "pos:orders")
    with governed(s6_processes) as world:
        names = world.enter(3)
        world.protected(names)
        world.settled()
        quiet = {prefix: world.redis.hgetall(f"{prefix}:{{{names[2]}}}") for prefix in torn}
        assert all(quiet.values())
        for name in CORE:
            s6_processes[name].kill()
        for prefix in torn:
            world.redis.delete(f"{prefix}:{{{names[0]}}}", f"{prefix}:{{{names[2]}}}")
        world.paper.manual_close(names[0], "0.05")
        world.paper.manual_close(names[1])
        s6_processes.start(*CORE)
        s6_processes.ready().healthy()
        mended = {prefix: world.redis.hgetall(f"{prefix}:{{{names[2]}}}") for prefix in torn}
        ladder = mended["pos:tp:ladder"]  # it says when it was written
        assert int(ladder["ts"]) > int(quiet["pos:tp:ladder"]["ts"])
        assert mended | {"pos:tp:ladder": ladder | {"ts": quiet["pos:tp:ladder"]["ts"]}} == quiet
        wait_for(lambda: world.state(names[0])["qty"] == "0.05", 10, "the half applied")
        wait_for(lambda: world.state(names[1])["status"] == "CLOSED", 10, "the close applied")
        world.protected([names[0], names[2]])
        world.settled()
        assert world.faults() == []


def test_processes_before_their_surroundings(s6_processes: S6Processes, own_redis: EmbeddedRedis) -> None:
    """Everything is started with nothing there: no Redis, no neighbours. Then those come, in the wrong order."""
    with governed(s6_processes, start=()) as world:
        s6_processes["paper"].freeze()
        own_redis.stop()
        s6_processes.start(*CORE)
        wait_for(lambda: s6_processes.health() == 503, 40, "up, but not governing")
        own_redis.start()
        s6_processes.ready(("worker", "listener", "beat"))
        assert s6_processes.health() == 503  # no bundle yet
        s6_processes["paper"].thaw()
        s6_processes.healthy(30)
        world.tick(START)
        world.protected(world.enter(2))
        world.settled()
        assert world.faults() == []


def test_health_waits_for_the_stops_to_be_verified(s6_processes: S6Processes) -> None:
    with governed(s6_processes) as world:
        names = world.enter(2)
        world.protected(names)
        world.settled()
        for name in CORE:
            s6_processes[name].kill()
        world.paper.fault(http={"s4.order": {"down": "error"}})
        s6_processes.start(*CORE)
        s6_processes.ready()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            assert s6_processes.health() == 503
            time.sleep(0.1)
        world.paper.clear_faults()
        s6_processes.healthy(15)
        world.settled()
        assert world.faults() == []
