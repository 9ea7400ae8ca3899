"""What S6 takes while nothing happens but ticks."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.filling import Filling, quiet_names
from tests.bench.measuring import Row, Scale
from tests.bench.rows.crossing import ticking
from tests.bench.world import world

SYMBOLS = 50


def measure(scale: Scale) -> Iterator[Row]:
    """All processes and Redis together."""
    each, rate, seconds = scale.of(20, 2), scale.of(500, 50), scale.of(30, 3)
    with world(symbol_count=SYMBOLS) as running:
        filling = Filling(running, running.symbols[0])
        filling.fill(quiet_names(running.symbols, each))
        filling.look()
        time.sleep(scale.of(15, 3))
        with ticking(running, running.symbols, rate):
            time.sleep(2)
            cost = running.rest(seconds)
    share = cost.whole_cpu / cost.seconds * 100
    shares = ", ".join(f"{role} {used / cost.seconds * 100:.1f}" for role, used in cost.cpu.items())
    yield Row(
        f"idle: {SYMBOLS * each:,} quiet positions, {SYMBOLS} symbols, {rate // SYMBOLS} ticks/s each",
        "≤ 10 % of one core in all",
        f"{share:.1f} % ({shares})",
        share <= 10,
        {"percent": share},
    )
