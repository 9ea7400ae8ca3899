"""A whole S6 under load on a Redis Cluster whose slots move, and on a Sentinel's master that dies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s6.standalone.redis_single import EmbeddedRedis
from tests.chaos.world import World
from tests.support.governed import Governed, governed
from tests.support.procs import S6Processes
from tests.support.redis_cluster import EmbeddedCluster
from tests.support.redis_sentinel import EmbeddedSentinel
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@contextmanager
def load(world: Governed, *, seed: int, count: int = 12) -> Iterator[World]:
    """A market that moves, and so many positions in it, until everything stands still again at the end."""
    market = World(world.paper.base_url, seed=seed, count=count)
    market.start()
    wait_for(lambda: market.entered >= count, 20, "positions entered")
    yield market
    market.stop()
    world.settled()


def test_a_life_on_a_cluster_whose_slots_migrate(
    tmp_path: Path, redis_cluster: EmbeddedCluster, cluster_url: str, own_redis: EmbeddedRedis
) -> None:
    env = {"S6_REDIS_URL": cluster_url, "S6_BROKER_URL": own_redis.url(1), "S6_API_TOKENS": "operator:ops:ops-token"}
    with S6Processes(tmp_path / "s6", env) as s6, governed(s6) as world:
        with load(world, seed=1) as market:
            names = [str(position["position_id"]) for position in world.paper.positions(open_only=True)]
            keys = [f"pos:state:{{{name}}}" for name in names[:6]]
            keys += [
                "ord:result:BTCUSDT",
                "mkt:ETHUSDT",
                "pos:events:SOLUSDT",
                "s6:ops",
                "s6:outbox",
                "s6:open:BTCUSDT",
            ]
            moved = 0
            for key in keys:
                slot = int(world.redis.keyslot(key))
                source = redis_cluster.owner(slot)
                to = next(node for node in redis_cluster.nodes if node is not source)
                world.paper.note("a slot migrates", lasts_ms=2_000)
                moved += redis_cluster.migrate(slot, to, pause_s=0.02)
            assert moved > len(keys)
            entered = market.entered
            wait_for(lambda: market.entered > entered + 2, 60, "positions closed, others entered")
        assert world.faults() == []
        assert s6.health() == 200


def test_sentinels_fail_over_midway(tmp_path: Path) -> None:
    with EmbeddedSentinel(tmp_path / "redis") as sentinel:
        env = {"S6_REDIS_URL": sentinel.url(), "S6_API_TOKENS": "operator:ops:ops-token"}
        with S6Processes(tmp_path / "s6", env) as s6, governed(s6) as world:
            with load(world, seed=2) as market:
                old = sentinel.master()
                world.paper.note("failover", lasts_ms=10_000)
                with old.client() as master:
                    master.set("test:failover", 1)
                    assert master.wait(1, 5_000) == 1  # what has not reached the replica is lost: no more is promised
                old.kill()
                wait_for(lambda: sentinel.master() is not old, 20, "another master")
                entered = market.entered
                s6.ready().healthy()
                wait_for(lambda: market.entered > entered + 1, 60, "life goes on")
            assert world.faults() == []
