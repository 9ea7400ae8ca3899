"""How long the successor of a killed process takes until it is at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import requests

from tests.bench.market import name
from tests.bench.measuring import Row, Scale, at
from tests.bench.world import World, world
from tests.support.waiting import wait_for


def measure(scale: Scale) -> Iterator[Row]:
    """Worker and listener are at work once an entry that came at their start has its stop, web once it answers."""
    rounds = scale.of(5, 1)
    with world() as running:
        running.first_stops([name(running.symbols[0], "warm")])
        workers = [_successor(running, "worker", _first_stop(running, f"w{n}")) for n in range(rounds)]
        listeners = [_successor(running, "listener", _first_stop(running, f"l{n}")) for n in range(rounds)]
        webs = [_successor(running, "web", _served(running)) for _ in range(rounds)]
    worker, listener, web = (at(times, 0.5) for times in (workers, listeners, webs))
    yield Row(
        "a killed process's successor: start → at work",
        "worker ≤ 1 s, listener ≤ 1 s, web ≤ 1.5 s",
        f"worker {worker:.2f} s, listener {listener:.2f} s, web {web:.2f} s (medians of {rounds})",
        worker <= 1 and listener <= 1 and web <= 1.5,
        {"worker_s": worker, "listener_s": listener, "web_s": web},
    )


def _successor(running: World, role: str, at_work: Callable[[], object]) -> float:
    running.s6[role].kill()
    began = time.monotonic()
    running.s6.start(role)
    at_work()
    taken = time.monotonic() - began
    running.s6.ready([role])
    running.at_rest()
    return taken


def _first_stop(running: World, label: str) -> Callable[[], object]:
    return lambda: running.first_stops([name(running.symbols[0], label)])


def _served(running: World) -> Callable[[], object]:
    def live() -> bool:
        try:
            return requests.get(f"{running.s6.url}/live", timeout=5).ok
        except requests.RequestException:
            return False

    return lambda: wait_for(live, 30, "the web process")
