"""A whole S6 to be measured: a real Redis, the Procfile's processes, and neighbours in a process of their own."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests

from s6 import keys
from s6.adapters.redis_client import connect
from s6.model.types import NEIGHBOURS
from s6.standalone.free_ports import free_port
from s6.standalone.redis_single import EmbeddedRedis
from tests.bench.market import ENTRY, entry, symbols, tick
from tests.bench.measuring import Cost, commands, cpu_s
from tests.bench.neighbours import NeighboursClient
from tests.support.procs import CORE, S6Processes
from tests.support.waiting import wait_for

STREAM_LENGTH: Final = 20_000
LONGEST_S: Final = 300.0


class World:
    """Act by ``enter`` and ``tick``, wait by ``sent`` and ``at_rest``, measure by ``costs``."""

    def __init__(self, s6: S6Processes, server: EmbeddedRedis, neighbours: NeighboursClient, names: list[str]) -> None:
        self.s6, self.server, self.s4, self.symbols = s6, server, neighbours, names
        self.redis: Any = connect(server.url(0))
        self.own_commands = 0

    def add(self, entries: Iterable[tuple[str, dict[str, str]]]) -> float:
        """Put entries on streams in one trip. Returns when that began (s since the epoch)."""
        pipe = self.redis.pipeline(transaction=False)
        for stream, fields in entries:
            pipe.xadd(stream, fields, maxlen=STREAM_LENGTH, approximate=True)
            self.own_commands += 1
        began = time.time()
        pipe.execute()
        return began

    def tick(self, mark: float, names: Iterable[str] | None = None) -> float:
        """Have these symbols (all) at that mark."""
        return self.add((keys.TICKS + symbol, tick(mark)) for symbol in names or self.symbols)

    def enter(self, names: Iterable[str], market: str = "FUT") -> float:
        """Have these positions' entries fill."""
        results = (entry(name, market) for name in names)
        return self.add((keys.RESULTS + fields["symbol"], fields) for fields in results)

    def sent(self, what: str, number: int, timeout: float = LONGEST_S) -> None:
        """Wait until S4 was sent so many of a kind in all."""
        wait_for(lambda: self.s4.count(what) >= number, timeout, f"{number} times {what} at S4")

    def first_stops(self, names: Sequence[str], market: str = "FUT") -> list[float]:
        """Have these enter. Returns the seconds that each waited until its stop came to S4, sorted."""
        self.s4.forget()
        before = self.s4.count("SL")
        began = self.enter(names, market)
        self.sent("SL", before + len(names))
        came = wait_for(lambda: self._all_came(names), LONGEST_S, "first stops", every=0.05) or {}
        return sorted(came[name] - began for name in names)

    def _all_came(self, names: Sequence[str]) -> dict[str, float] | None:
        """Return when each position's first stop came to S4, None before all have come."""
        came = {each["position_id"]: float(each["at"]) for each in reversed(self.s4.requests("SL"))}
        return came if came.keys() >= set(names) else None

    def at_rest(self, timeout: float = LONGEST_S) -> None:
        """Wait until no look, operation or snapshot waits."""

        def done() -> bool:
            self.own_commands += 3
            return not (self.redis.zcard(keys.LOOKS) or self.redis.zcard(keys.OPS) or self.redis.zcard(keys.OUTBOX))

        wait_for(done, timeout, "S6 at rest", every=0.2)

    @contextmanager
    def costs(self) -> Iterator[list[Cost]]:
        """Measure the block; its cost is in the list behind it. What others than S6 send to Redis does not count."""
        found: list[Cost] = []
        before, began = self._read(), time.monotonic()
        yield found
        seconds, after = time.monotonic() - began, self._read()
        cpu = {role: used - before[1][role] for role, used in after[1].items()}
        found.append(Cost(seconds, after[0] - before[0], cpu))

    def rest(self, seconds: float = 4.0) -> Cost:
        """Return what S6 takes with nothing to do."""
        with self.costs() as found:
            time.sleep(seconds)
        return found[0]

    def _read(self) -> tuple[int, dict[str, float]]:
        self.own_commands += 1
        count = commands(self.redis) - self.own_commands - self.s4.count("published")
        return count, {role: cpu_s(pid) for role, pid in self.pids().items()}

    def pids(self) -> dict[str, int]:
        """Return the processes to be measured."""
        roles = {each.name: each.pid for each in self.s6.started if each.alive and each.name in CORE}
        self.own_commands += 1
        return roles | {"redis": int(self.redis.info("server")["process_id"])}


@contextmanager
def world(*roles: str, symbol_count: int = 1, env: dict[str, str] | None = None, **s4: float) -> Iterator[World]:
    """Start these processes (all four) around a new Redis. ``s4`` sets how S4 behaves."""
    with (
        tempfile.TemporaryDirectory(prefix="s6-bench-") as folder,
        EmbeddedRedis(Path(folder) / "redis") as server,
        S6Processes(Path(folder) / "s6", {}) as s6,
    ):
        s6.env |= {"S6_REDIS_URL": server.url(0), "S6_BROKER_URL": server.url(1), **(env or {})}
        neighbours = _neighbours(s6, symbol_count)
        neighbours.set(**s4)
        running = World(s6, server, neighbours, symbols(symbol_count))
        start(running, *(roles or CORE))
        yield running


def start(running: World, *roles: str) -> None:
    """Start processes, wait until they are at work, and have every symbol at its first mark."""
    running.s6.start(*roles)
    running.s6.ready(roles)
    if "listener" in roles:
        running.tick(ENTRY)
        last = keys.market(running.symbols[-1])
        wait_for(lambda: running.redis.exists(last, keys.RECONCILED) == 2, 60, "the first ticks read", every=0.1)


def _neighbours(s6: S6Processes, symbol_count: int) -> NeighboursClient:
    port = free_port()
    client = NeighboursClient(f"http://127.0.0.1:{port}")
    options = ["--redis", s6.env["S6_REDIS_URL"], "--port", str(port), "--symbols", str(symbol_count)]
    s6.run("neighbours", [sys.executable, "-m", "tests.bench.neighbours", *options])
    s6.env |= {f"S6_{name.upper()}_URL": client.url for name in NEIGHBOURS}
    wait_for(lambda: _is_up(client.url), 30, "the neighbours", every=0.05)
    return client


def _is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False
