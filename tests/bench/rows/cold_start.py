"""How long S6 takes until it is ready when Redis was emptied."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.filling import Filling, quiet_names
from tests.bench.measuring import Row, Scale
from tests.bench.world import world
from tests.support.procs import CORE

SYMBOLS = 100
PATIENCE_S = 180.0


def measure(scale: Scale) -> Iterator[Row]:
    """Every position is open in the store, and one in a thousand questions to S4 gets no answer."""
    each = scale.of(200, 2)
    count = SYMBOLS * each
    with world(symbol_count=SYMBOLS) as running:
        filling = Filling(running, running.symbols[0])
        running.at_rest()
        running.s6["worker"].stop()
        running.s6["listener"].stop()
        running.s6["beat"].stop()
        filling.fill(quiet_names(running.symbols, each), phase="AFTER")
        while filling.services.relay.run():
            pass
        running.redis.flushall()
        running.s4.set(unanswered=1_000)
        began = time.monotonic()
        running.s6.start("worker", "beat", "listener")
        try:
            running.s6.ready(CORE).healthy(scale.of(int(PATIENCE_S), 60))
            taken, reached = time.monotonic() - began, f"{time.monotonic() - began:.1f} s"
        except AssertionError:
            taken, reached = PATIENCE_S, f"not within {PATIENCE_S:.0f} s, {running.s4.count('asked'):,} questions asked"
    yield Row(
        f"cold start: Redis emptied, {count:,} open positions in the store, S4 answering in 5 ms",
        "ready ≤ 60 s",
        reached,
        taken <= 60,
        {"seconds": taken},
    )
