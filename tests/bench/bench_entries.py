"""What a first stop costs, many entries at once: time, commands to Redis and CPU, all processes together.

    python tests/bench/bench_entries.py [--entries 300] [--rounds 3]

Real processes, one of each type, a real Redis, and an S4 that accepts every order at once. An entry counts from when
its result is put on the stream until S4 gets its stop. Commands are those of ``INFO commandstats``, inside scripts
included, and CPU is that of the processes, both less what they take at rest.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from s6 import keys
from s6.adapters.redis_client import connect
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.counted import SYMBOL, Agreeable, entry_fields
from tests.support.procs import S6Processes
from tests.support.waiting import wait_for

ROLES = ("worker", "beat", "listener")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Stops:
    """An S4 that notes when it got each position's stop, and tells the stream that it rests."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self.at: dict[str, float] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Agreeable)
        self._http.told = self  # type: ignore[attr-defined]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def append(self, body: dict[str, Any]) -> None:
        self.at.setdefault(body["position_id"], time.time())
        fields = {name: str(body[name]) for name in ("position_id", "client_order_id", "kind", "side", "type", "qty")}
        fields |= {"ts": str(int(time.time() * 1000)), "symbol": SYMBOL, "market": "FUT", "status": "NEW"}
        self._redis.xadd(keys.RESULTS + SYMBOL, fields)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="s6-bench-") as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        env = {"S6_REDIS_URL": server.url(0), "S6_BROKER_URL": server.url(1)}
        client: Any = connect(server.url(0))
        stops = Stops(connect(server.url(0)))
        with S6Processes(Path(folder) / "s6", env) as s6:
            paper = s6.start_paper()
            s6.env["S6_S4_URL"] = stops.url
            s6.start(*ROLES)
            s6.ready(ROLES)
            paper.tick(SYMBOL, 40_000)
            pids = {role: s6[role].pid for role in ROLES} | {"redis": int(client.info("server")["process_id"])}
            burst(client, stops, [f"warm{n}" for n in range(20)])
            rest = measured(client, pids, lambda: time.sleep(3.0))
            rows = [row(client, stops, pids, rest, options.entries, n) for n in range(options.rounds)]
    print(f"{options.entries} FUT entries at once, one process of each type; ms, and per entry")
    print(f"{'first stop p50':>15}{'last':>8}{'per s':>8}{'commands':>10}{'CPU ms':>8}   of that {', '.join(pids)}")
    for each in rows:
        shares = ", ".join(f"{share:.1f}" for share in each[5])
        print(f"{each[0]:15.0f}{each[1]:8.0f}{each[2]:8.0f}{each[3]:10.1f}{each[4]:8.1f}   {shares}")


def row(client: Any, stops: Stops, pids: dict[str, int], rest: tuple[float, ...], count: int, number: int) -> Any:
    """Median and last first stop (ms), entries a second, commands and CPU (ms) an entry, and each process's CPU."""
    names = [f"r{number}-{n}" for n in range(count)]
    taken: list[float] = []
    seconds, commands, *cpu = measured(client, pids, lambda: taken.extend(burst(client, stops, names)))
    rates = [amount / rest[0] * seconds for amount in rest[1:]]
    commands, *cpu = (amount - idle for amount, idle in zip((commands, *cpu), rates, strict=True))
    neighbours = 2  # the entry and S4's word about the stop
    whole = sum(cpu) / count * 1000
    shares = [each / count * 1000 for each in cpu]
    return taken[count // 2], taken[-1], count / taken[-1] * 1000, commands / count - neighbours, whole, shares


def burst(client: Any, stops: Stops, names: list[str]) -> list[float]:
    """Have all these enter at once. Returns how long each waited for its stop (ms), sorted."""
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.xadd(keys.RESULTS + SYMBOL, entry_fields(name))
    began = time.time()
    pipe.execute()
    wait_for(lambda: all(name in stops.at for name in names), 120, "first stops")
    wait_for(lambda: not client.zcard(keys.OUTBOX) and not client.zcard(keys.LOOKS), 60, "S6 at rest")
    return sorted((stops.at[name] - began) * 1000 for name in names)


def measured(client: Any, pids: dict[str, int], act: Any) -> tuple[float, ...]:
    """Seconds, commands, and CPU seconds of each process that ``act`` took."""
    before = time.time(), _commands(client), *map(_cpu, pids.values())
    act()
    after = time.time(), _commands(client), *map(_cpu, pids.values())
    return tuple(b - a for a, b in zip(before, after, strict=True))


def _commands(client: Any) -> int:
    return sum(int(each["calls"]) for each in client.info("commandstats").values())


def _cpu(pid: int) -> float:
    """CPU seconds that a process and its ended children have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_A_SECOND


if __name__ == "__main__":
    main()
