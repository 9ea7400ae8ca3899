"""How many results are booked in a second, beside the empty Celery tasks that this machine runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice

from redis import Redis

from s6 import keys
from tests.bench.filling import quiet_names
from tests.bench.measuring import Row, Scale
from tests.bench.world import World, world
from tests.support.waiting import wait_for

SYMBOLS = 20
WARM = 40


def measure(scale: Scale) -> Iterator[Row]:
    """Spot entries in a burst: each is booked, and its evaluation sets the guard, which an event tells."""
    count = scale.of(3_000, 100)
    with world("worker", "beat", "listener", symbol_count=SYMBOLS) as running:
        names = quiet_names(running.symbols, (WARM + count) // SYMBOLS + 1)
        _burst(running, list(islice(names, WARM)), told=2 * WARM)
        taken = _burst(running, list(islice(names, count)), told=2 * (WARM + count))
        running.s6.end()
        bare = _bare(running, scale.of(5_000, 100))
    rate, ratio = count / taken, count / taken / bare
    yield Row(
        "results booked with state, snapshot, event and evaluation",
        "≥ 1,000 /s, ≥ 3 × empty Celery tasks",
        f"{rate:,.0f} /s, {ratio:.2f} × ({bare:,.0f} empty tasks/s)",
        rate >= 1_000 and ratio >= 3,
        {"per_s": rate, "celery_per_s": bare, "ratio": ratio},
    )


def _burst(running: World, names: list[str], told: int) -> float:
    """Have these enter. Returns the seconds until all are booked and their guards stand: ``told`` events in all."""
    began = running.enter(names, "SPOT")
    wait_for(lambda: sum(_lengths(running)) >= told, 300, f"{told} events")
    taken = time.time() - began
    running.at_rest()
    return taken


def _lengths(running: World) -> list[int]:
    pipe = running.redis.pipeline(transaction=False)
    for symbol in running.symbols:
        pipe.xlen(keys.events(symbol))
    return list(map(int, pipe.execute()))


def _bare(running: World, count: int) -> float:
    """Return how many empty tasks a second a worker with S6's own pool and broker works off."""
    os.environ.update(running.s6.env)
    from tests.bench.bare import link

    broker = Redis.from_url(running.s6.env["S6_BROKER_URL"])
    with link.app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            link.apply_async(producer=producer, priority=0)  # which Redis keeps under the bare name
    assert broker.llen("bare") == count
    running.s6.run("bare", "celery -A tests.bench.bare worker --pool threads --without-gossip --without-mingle -Q bare")
    wait_for(lambda: int(broker.llen("bare")) < count, 60, "the bare worker", every=0.005)
    began, left = time.monotonic(), int(broker.llen("bare"))
    wait_for(lambda: not broker.llen("bare"), 120, "empty tasks", every=0.005)
    rate = left / (time.monotonic() - began)
    broker.close()
    return rate
