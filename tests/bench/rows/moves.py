"""What a stop move takes and costs, fifty at once: S4 answers in 20 ms, and tells a cancel's outcome 20 ms later."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from s6.store import open_store
from tests.bench.filling import Filling, quiet_names
from tests.bench.market import PROBE, STEP
from tests.bench.measuring import Row, Scale, at
from tests.bench.world import World, world

ANSWER_S = 0.020
OWN_S = 3 * ANSWER_S
"""What S4 takes of a move: the cancel's answer, its outcome, the new stop's answer."""


def measure(scale: Scale) -> Iterator[Row]:
    """One tick moves the stops of all positions of its symbol."""
    count, rounds = scale.of(50, 5), scale.of(5, 2)
    with world("worker", "beat", "listener", symbol_count=1 + scale.of(8, 2)) as running:
        running.s4.set(answer_s=ANSWER_S, outcome_s=ANSWER_S)
        filling = Filling(running, running.symbols[0])
        one, others = running.symbols[1], running.symbols[1:]
        filling.fill(quiet_names(others, count), best=PROBE)
        names = list(quiet_names([one], count))
        moved(running, [one], names, 1)
        time.sleep(6)  # the listener's looks have come to rest
        rest = running.rest(scale.of(4, 1))
        last_s, bare, moves = [], [], []
        with running.costs() as found:
            for number in range(rounds):
                began = moved(running, [one], names, 2 + number)
                stops = running.s4.requests("SL")
                last_s.append(max(each["answered"] for each in stops) - began)
                bare += unprotected(running)
                moves.append(began)
            running.at_rest()
        cost = found[0].less(rest)
        own = decided_to_accepted(running, names, since_ms=int(moves[0] * 1000))
        every = list(quiet_names(others, count))
        began = moved(running, others, every, 2 + rounds)
        sustained = len(every) / (max(each["answered"] for each in running.s4.requests("SL")) - began)
    p95 = at(own, 0.95) * 1000
    yield Row(
        f"STOP_MOVE, {count} at once: decision → accepted less S4's own; sustained",
        "p95 ≤ 50 ms, all accepted ≤ 0.6 s after the tick; ≥ 100 /s",
        f"p95 {p95:.0f} ms, all after {at(last_s, 0.5):.2f} s (worst {max(last_s):.2f}); {sustained:.0f} /s",
        p95 <= 50 and max(last_s) <= 0.6 and sustained >= 100,
        {"own_p95_ms": p95, "last_s": max(last_s), "per_s": sustained},
    )
    commands, cpu_ms = cost.commands / count / rounds, cost.whole_cpu / count / rounds * 1000
    shares = ", ".join(f"{role} {used / count / rounds * 1000:.1f}" for role, used in cost.cpu.items())
    yield Row(
        "one stop move: Redis commands, CPU",
        "≤ 60, ≤ 8 ms",
        f"{commands:.0f}, {cpu_ms:.1f} ms ({shares})",
        commands <= 60 and cpu_ms <= 8,
        {"commands": commands, "cpu_ms": cpu_ms},
    )
    gap = at(bare, 0.95) * 1000
    yield Row(
        f"unprotected time less S4's answer, {count} at once",
        "p95 ≤ 20 ms",
        f"p50 {at(bare, 0.5) * 1000:.0f} ms, p95 {gap:.0f} ms",
        gap <= 20,
        {"p95_ms": gap},
    )


def moved(running: World, symbols: Sequence[str], names: Sequence[str], step: int) -> float:
    """Have one tick of these symbols move all stops. Returns when it was sent."""
    running.s4.forget()
    before = running.s4.count("SL")
    began = running.tick(PROBE + STEP * step, symbols)
    running.sent("SL", before + len(names))
    time.sleep(2 * ANSWER_S)  # until the last one's answer
    running.at_rest()
    return began


def unprotected(running: World) -> list[float]:
    """Return the seconds from each cancel's outcome until the new stop came to S4."""
    gone = {each["position_id"]: each["outcome"] for each in running.s4.requests("cancel")}
    return [each["at"] - gone[each["position_id"]] for each in running.s4.requests("SL")]


def decided_to_accepted(running: World, names: Sequence[str], since_ms: int) -> list[float]:
    """Return the seconds of every move since then, from its snapshot BEFORE to that AFTER, less S4's own."""
    store = open_store(running.s6.env["S6_STORE_URL"])
    found = []
    for position_id in names:
        decided = None
        for doc in store.snapshots(position_id=position_id, limit=500).items:
            ts = int(str(doc["ts"]))
            if ts < since_ms or "STOP_MOVE" not in str(doc["cause"]):
                continue
            if doc["phase"] == "BEFORE":
                decided = ts
            elif doc["phase"] == "AFTER" and decided is not None:
                found.append((ts - decided) / 1000 - OWN_S)
                decided = None
    store.close()
    return found
