"""How long entries wait for their first stops, and what one costs."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.market import name
from tests.bench.measuring import Row, Scale, at
from tests.bench.world import world


def measure(scale: Scale) -> Iterator[Row]:
    """Many futures entries on one symbol at once; an entry counts until S4 gets its stop."""
    burst, many = scale.of(300, 20), scale.of(1_500, 40)
    with world("worker", "beat", "listener") as running:
        symbol = running.symbols[0]
        running.first_stops([name(symbol, f"warm{n}") for n in range(20)])
        running.at_rest()
        rest = running.rest(scale.of(4, 1))
        with running.costs() as found:
            waits = running.first_stops([name(symbol, n) for n in range(burst)])
            running.at_rest()
        cost = found[0].less(rest)
        sustained = many / running.first_stops([name(symbol, f"more{n}") for n in range(many)])[-1]
    median, last = at(waits, 0.5), waits[-1]
    yield Row(
        f"{burst} FUT entries at once: first stop; sustained",
        "median ≤ 1 s, last ≤ 3 s; ≥ 150 /s",
        f"median {median:.2f} s, last {last:.2f} s; {sustained:.0f} /s",
        median <= 1 and last <= 3 and sustained >= 150,
        {"median_s": median, "last_s": last, "per_s": sustained},
    )
    commands, cpu_ms = cost.commands / burst, cost.whole_cpu / burst * 1000
    shares = ", ".join(f"{role} {used / burst * 1000:.1f}" for role, used in cost.cpu.items())
    yield Row(
        "one FUT entry → first stop: Redis commands, CPU",
        "≤ 45, ≤ 5 ms",
        f"{commands:.0f}, {cpu_ms:.1f} ms ({shares})",
        commands <= 45 and cpu_ms <= 5,
        {"commands": commands, "cpu_ms": cpu_ms},
    )
