"""How soon S4 hears of a tick that crosses something, among many positions and many ticks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from s6 import keys
from s6.adapters.redis_client import connect
from tests.bench.filling import Filling, quiet_names
from tests.bench.market import PROBE, QUIET, STEP, name, tick
from tests.bench.measuring import Row, Scale, at
from tests.bench.world import STREAM_LENGTH, World, world

TOGETHER = 20
BATCH_S = 0.01
PAUSE_S = 0.1


def measure(scale: Scale) -> Iterator[Row]:
    """One position of each symbol is to be moved by the next higher mark, the others are at rest."""
    symbols, each, rate = scale.of(200, 10), scale.of(50, 10), scale.of(1_000, 100)
    with world("worker", "beat", "listener", symbol_count=symbols + 1, answer_s=0.005) as running:
        model, *crossed = running.symbols
        filling = Filling(running, model)
        filling.fill(quiet_names(crossed, each))
        probes = [name(symbol, "probe") for symbol in crossed]
        filling.fill(probes, best=PROBE)
        filling.fill(quiet_names([model], TOGETHER), best=PROBE)
        filling.look()
        time.sleep(scale.of(10, 6))  # until every listener knows of them
        with ticking(running, crossed, rate):
            time.sleep(2)
            running.s4.forget()
            sent = {}
            for symbol in crossed:
                sent[name(symbol, "probe")] = running.tick(PROBE + STEP, [symbol])
                time.sleep(PAUSE_S)
            running.sent("cancel", len(sent))
            came = {one["position_id"]: one["at"] for one in running.s4.requests("cancel")}
            waits = [came[probe] - began for probe, began in sent.items()]
            running.at_rest()
            running.s4.forget()
            before = running.s4.count("cancel")
            began = running.tick(PROBE + STEP, [model])
            running.sent("cancel", before + TOGETHER)
            last = max(one["at"] for one in running.s4.requests("cancel")) - began
    p50, p95 = at(waits, 0.5) * 1000, at(waits, 0.95) * 1000
    yield Row(
        f"tick that crosses → S4's request; {symbols * each:,} positions, {symbols} symbols, {rate:,} ticks/s",
        f"p50 ≤ 15 ms, p95 ≤ 50 ms; {TOGETHER} at once: last ≤ 0.3 s",
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms; last {last:.2f} s",
        p50 <= 15 and p95 <= 50 and last <= 0.3,
        {"p50_ms": p50, "p95_ms": p95, "last_s": last},
    )


@contextmanager
def ticking(running: World, symbols: list[str], rate: int) -> Iterator[None]:
    """Send so many ticks a second, spread over these symbols, at marks that nothing is to be done about."""
    ended = threading.Event()
    redis = connect(running.server.url(0))
    chance = random.Random(1)

    def send() -> None:
        due, number = time.monotonic(), 0
        while not ended.is_set():
            pipe = redis.pipeline(transaction=False)
            for _ in range(max(1, int(rate * BATCH_S))):
                fields = tick(chance.randint(*QUIET))
                pipe.xadd(keys.TICKS + symbols[number % len(symbols)], fields, maxlen=STREAM_LENGTH)  # type: ignore[arg-type]
                number += 1
            pipe.execute()
            due += max(BATCH_S, 1 / rate)
            ended.wait(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
