"""A whole S6 on a Redis Cluster one of whose masters hangs, and on one whose slots are open most of the time."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from s6 import keys
from s6.standalone.redis_single import EmbeddedRedis
from tests.judge.judge import longest_gap
from tests.support.governed import START, Governed, governed
from tests.support.procs import S6Processes
from tests.support.redis_cluster import EmbeddedCluster
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HANGS_S: Final = 3.0
#: A node is found to hang by waiting for it, a second at most.
SOON_S: Final = 1.8
#: Nobody takes a master for dead that hangs for three seconds, and the others go on without it.
PATIENT: Final = {"cluster-node-timeout": "10000", "cluster-require-full-coverage": "no"}


@contextmanager
def on_cluster(folder: Path, cluster: EmbeddedCluster, broker: EmbeddedRedis) -> Iterator[Governed]:
    env = {"S6_REDIS_URL": cluster.url(), "S6_BROKER_URL": broker.url(1), "S6_API_TOKENS": "operator:ops:ops-token"}
    with S6Processes(folder / "s6", env) as s6, governed(s6) as world:
        yield world


def test_a_master_that_hangs_stops_only_what_is_on_it(tmp_path: Path, own_redis: EmbeddedRedis) -> None:
    with EmbeddedCluster(tmp_path / "cluster", PATIENT) as cluster, on_cluster(tmp_path, cluster, own_redis) as world:
        held = [_position_off(world, node) for node in cluster.nodes]
        took = []
        for node, (symbol, name) in zip(cluster.nodes, held, strict=True):
            before = world.stop(name)
            world.paper.note("a master hangs", lasts_ms=int(HANGS_S * 1000) + 2_000)
            node.freeze()
            froze = time.monotonic()
            try:
                world.paper.tick(symbol, START * 103 // 100)
                wait_for(lambda name=name, before=before: _moved(world, name, before), HANGS_S, f"{name}'s stop moved")  # type: ignore[misc]
                took.append(time.monotonic() - froze)
                time.sleep(max(0.0, HANGS_S - took[-1]))
            finally:
                node.thaw()
            wait_for(lambda: not world.redis.hung, 5, "the test's own client finds that it answers")
            world.settled()
        assert max(took) < SOON_S, took
        assert world.faults() == []


def test_slots_that_are_open_most_of_the_time_leave_no_position_without_a_stop(
    tmp_path: Path, redis_cluster: EmbeddedCluster, cluster_url: str, own_redis: EmbeddedRedis
) -> None:
    with on_cluster(tmp_path, redis_cluster, own_redis) as world:
        assert cluster_url == redis_cluster.url()
        over = threading.Event()
        moved: list[int] = []
        mover = threading.Thread(target=_move_slots, args=(world, redis_cluster, over, moved), daemon=True)
        mover.start()
        names: list[str] = []
        for mark in (40_000, 40_400, 40_800, 41_200, 41_600, 42_000):
            names += world.enter(2, qty="0.01")
            world.tick(mark)
            time.sleep(2.0)
        over.set()
        mover.join(20)
        assert sum(moved) > 50
        world.protected(names)
        moves = [order for name in names for order in world.paper.orders(name) if order["kind"] == "SL"]
        assert len(moves) > len(names)
        world.settled()
        assert world.faults() == []
        gap = longest_gap(world.paper.ledger())
        assert gap is not None
        assert gap.length_ms <= 1_000, gap


def _move_slots(world: Governed, cluster: EmbeddedCluster, over: threading.Event, moved: list[int]) -> None:
    """Move the slots of every open position, and those that positions share, from node to node without a rest."""
    shared = ["ord:result:BTCUSDT", "mkt:BTCUSDT", "pos:events:BTCUSDT", keys.OPS, keys.OUTBOX, keys.LOOKS, keys.BUNDLE]
    shared += [keys.market("BTCUSDT"), keys.open_positions("BTCUSDT"), keys.ALERTS, "risk:budget:FUT"]
    for number in itertools.count():
        names = [str(position["position_id"]) for position in world.paper.positions(open_only=True)]
        for key in [*(keys.state(name) for name in names[-6:]), *shared]:
            if over.is_set():
                return
            slot = int(world.redis.keyslot(key))
            source = cluster.nodes.index(cluster.owner(slot))
            moved.append(cluster.migrate(slot, cluster.nodes[(source + 1 + number % 2) % 3], pause_s=0.02))


def _position_off(world: Governed, node: EmbeddedRedis) -> tuple[str, str]:
    """Enter a position of which nothing that is its own or its symbol's is on a node; its symbol and id, protected."""
    owner = world.redis.get_node_from_key
    of_symbol: Any = (
        lambda s: f"mkt:{s}",
        lambda s: f"ord:result:{s}",
        lambda s: f"feat:events:{s}",
        keys.events,
        keys.market,
        keys.features,
        keys.open_positions,
    )
    symbols = (f"N{number}USDT" for number in itertools.count())
    symbol = next(s for s in symbols if all(owner(key(s)).port != node.port for key in of_symbol))
    names = (f"{symbol}-{number}" for number in itertools.count())
    name = next(n for n in names if owner(keys.state(n)).port != node.port)
    bundle: Any = world.paper.bundle()
    bundle["version"] = f"with {symbol}"
    bundle["symbols"][symbol] = dict(bundle["symbols"]["BTCUSDT"])
    spec = {part: str(bundle["symbols"][symbol][part]) for part in ("tick", "step", "min_qty", "min_notional", "mmr")}
    world.paper.symbol(symbol, **spec)
    world.paper.publish_bundle(bundle)
    wait_for(lambda: world.health()["bundle_version"] == bundle["version"], 15, "the bundle in force")
    world.paper.tick(symbol, START)
    wait_for(lambda: world.redis.exists(keys.market(symbol)), 5, f"a tick of {symbol} read")
    world.paper.open_position(name, symbol, "LONG", "0.1", 20)
    world.protected([name])
    return symbol, name


def _moved(world: Governed, name: str, before: dict[str, str]) -> bool:
    """Whether another stop lives at S4 than before, and none beside it."""
    live = [order for order in world.paper.orders(name, live=True) if order["kind"] == "SL"]
    return [order["client_order_id"] for order in live] != [before["client_order_id"]] and len(live) == 1
