"""What positions cost as they become many: a sweep, an entry beside them, memory, a new bundle."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from s6.bootstrap import build
from s6.model import jsonx
from s6.model.market import Tick
from s6.settings import load_settings
from tests.bench.filling import Filling, bytes_used, quiet_names
from tests.bench.market import PROBE, STEP, name
from tests.bench.measuring import Row, Scale, memory_mb
from tests.bench.world import World, world

EACH = 200
BESIDE = 100
AHEAD = 1_000
PAUSE_S = 0.1


@dataclass(frozen=True)
class Size:
    """What was measured with so many positions."""

    positions: int
    sweep_s: float
    commands: float
    cpu_ms: float


def measure(scale: Scale) -> Iterator[Row]:
    """The positions are spread over more and more symbols, two hundred in each."""
    steps = [scale.of(5, 1), scale.of(50, 2), scale.of(500, 5)]
    with world("worker", "beat", "listener", symbol_count=steps[-1] + 1) as running:
        model, *symbols = running.symbols
        filling = Filling(running, model)
        running.at_rest()
        empty, sizes, done = bytes_used(running), [], 0
        for step in steps:
            filling.fill(quiet_names(symbols[done:step], EACH))
            done = step
            sizes.append(_size(running, filling, step * EACH, scale))
        kept = (bytes_used(running) - empty) / sizes[-1].positions
        worker, listener = (memory_mb(running.s6[role].pid) for role in ("worker", "listener"))
        yield _sweep(sizes[-1], steps[-1])
        yield _flat(sizes, worker, listener, kept)
        yield _acting(running, filling, symbols, min(AHEAD, sizes[-1].positions // 10))
        yield _new_bundle(running, filling, symbols, sizes[-1].positions)


def _size(running: World, filling: Filling, positions: int, scale: Scale) -> Size:
    time.sleep(scale.of(10, 3))  # until the listener knows of them
    sweep_s = min(filling.look() for _ in range(3))
    rest = running.rest(scale.of(12, 2))  # a whole period of the sweep
    label = f"beside{positions}"
    with running.costs() as found:
        running.first_stops([name(running.symbols[0], f"{label}-{n}") for n in range(BESIDE)])
        running.at_rest()
    cost = found[0].less(rest)
    return Size(positions, sweep_s, cost.commands / BESIDE, cost.whole_cpu / BESIDE * 1000)


def _sweep(size: Size, symbols: int) -> Row:
    return Row(
        f"full sweep of {size.positions:,} quiet positions, {symbols} symbols",
        "≤ 2 s",
        f"{size.sweep_s:.2f} s ({size.positions / size.sweep_s:,.0f} positions/s)",
        size.sweep_s <= 2,
        {"seconds": size.sweep_s},
    )


def _flat(sizes: list[Size], worker: float, listener: float, kept: float) -> Row:
    first = sizes[0]
    sweep = max(each.sweep_s / each.positions for each in sizes) / (first.sweep_s / first.positions)
    commands = max(each.commands for each in sizes) / first.commands
    cpu = max(each.cpu_ms for each in sizes) / first.cpu_ms
    growth = max(sweep, commands, cpu)
    told = " / ".join(f"{each.sweep_s / each.positions * 1e6:.0f} µs, {each.cpu_ms:.1f} ms" for each in sizes)
    return Row(
        "cost a position at " + " / ".join(f"{each.positions:,}" for each in sizes) + " (sweep, entry beside them)",
        "flat within 1.5 ×; worker, listener ≤ 400 MB; Redis ≤ 15 kB a position",
        f"{growth:.2f} × ({told}); {worker:.0f}, {listener:.0f} MB; {kept / 1000:.1f} kB",
        growth <= 1.5 and worker <= 400 and listener <= 400 and kept <= 15_000,
        {"growth": growth, "worker_mb": worker, "listener_mb": listener, "redis_bytes": kept},
    )


def _acting(running: World, filling: Filling, symbols: list[str], count: int) -> Row:
    """Positions that a tick which nobody heard of has crossed: the sweep finds them, the worker decides."""
    each = max(1, count // len(symbols))
    running.s6["listener"].freeze()
    filling.fill(quiet_names(symbols, each, first=EACH), best=PROBE)
    count, state, mark = each * len(symbols), filling.services.state, Decimal(PROBE + STEP)
    for symbol in symbols:
        now = filling.services.clock.now_ms()
        state.put_tick(symbol, Tick(now, mark, mark, mark))
    os.environ.update(running.s6.env)
    from tasks.hints import CeleryHints

    sweep = build(load_settings(running.s6.env), CeleryHints()).sweep
    before, began = running.s4.count("cancel"), time.monotonic()
    sweep.run()
    swept = time.monotonic() - began
    running.sent("cancel", before + count)
    taken = time.monotonic() - began
    running.s6["listener"].thaw()
    running.at_rest()
    return Row(
        f"the same with {count:,} needing action: decided, written down, handed on",
        "≤ 5 s",
        f"{taken:.1f} s (the sweep itself {swept:.1f} s)",
        taken <= 5,
        {"seconds": taken, "sweep_s": swept},
    )


def _new_bundle(running: World, filling: Filling, symbols: list[str], positions: int) -> Row:
    """A bundle that locks in profit earlier, so that one position here and there is to be moved: the last of these
    says when all have been decided anew. Meanwhile others enter."""
    few = symbols[:: max(1, len(symbols) // 100)]
    ahead = [name(symbol, "ahead") for symbol in few]
    filling.fill(ahead, entry=39_400)  # a ROE of 0.26: the old bundle locks in from 0.3 on, the new one from 0.2
    before = running.s4.count("cancel")
    running.s4.publish_bundle("bench-2", first_lock="0.2")
    began = time.monotonic()
    running.redis.publish("cfg:events", jsonx.dumps({"version": "bench-2", "ts": int(time.time() * 1000)}))
    waits: list[float] = []
    while running.s4.count("cancel") < before + len(few) and time.monotonic() - began < 120:
        waits += running.first_stops([name(running.symbols[0], f"meanwhile-{len(waits)}")])
        time.sleep(PAUSE_S)
    taken, acted = time.monotonic() - began, running.s4.count("cancel") - before
    rate, worst = positions / taken, max(waits)
    return Row(
        f"a new bundle over {positions:,} positions; protection of others meanwhile",
        "≥ 2,000 /s; not delayed beyond 1 s",
        f"{rate:,.0f} /s ({taken:.1f} s, {acted} of {len(few)} acted on); first stops ≤ {worst:.2f} s",
        rate >= 2_000 and acted >= len(few) and worst <= 1,
        {"per_s": rate, "seconds": taken, "worst_s": worst},
    )
