"""What a STOP_MOVE costs by itself, many at once: decision to acceptance, less S4's latency and its cancel's delay.

    python tests/bench/bench_stop_move.py [--positions 20] [--rounds 5] [--workers 1]

Real processes, a real Redis, the paper exchange. One tick crosses a trigger of every position, so all are decided at
once. Times come from the snapshots (BEFORE: decided, AFTER: accepted) and from the exchange's own ledger. Beside it
runs a chain of three empty Celery tasks, as many at once, under the same settings: what the form costs without S6.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from redis import Redis

from s6.standalone.redis_single import EmbeddedRedis
from s6.store import open_store
from tests.support.paper_client import PaperClient
from tests.support.procs import S6Processes
from tests.support.waiting import wait_for

SYMBOL = "BTCUSDT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="s6-bench-") as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        env = {"S6_REDIS_URL": server.url(0), "S6_BROKER_URL": server.url(1)}
        with S6Processes(Path(folder) / "s6", env) as s6:
            paper = s6.start_paper()
            s6.start(*["worker"] * options.workers, "beat", "listener")
            s6.ready(("worker", "beat", "listener"))
            own, whole = stop_moves(s6, paper, server.url(0), options.positions, options.rounds)
            bare = bare_chains(s6, server.url(0), options.positions, options.rounds)
    print(f"{options.positions} at once, {options.rounds} rounds, {options.workers} worker process(es), ms")
    print(f"{'':34}{'p50':>8}{'p95':>8}{'max':>8}")
    rows = (("STOP_MOVE, decision to acceptance", whole), ("  of that S6's own", own), ("bare chain", bare))
    for name, values in rows:
        print(f"{name:34}{at(values, 0.5):8.0f}{at(values, 0.95):8.0f}{max(values):8.0f}")
    print(f"S6's own p95 is {at(own, 0.95) / at(bare, 0.95):.2f} times that of the bare chain")


def stop_moves(
    s6: S6Processes, paper: PaperClient, url: str, count: int, rounds: int
) -> tuple[list[float], list[float]]:
    """S6's own and the whole duration of every move, in ms."""
    client: Any = Redis.from_url(url, decode_responses=True)
    names = [f"p{n}" for n in range(count)]
    paper.tick(SYMBOL, 40000)
    paper.feature(SYMBOL, atr=200, regime="NORMAL")
    for name in names:
        paper.open_position(name, SYMBOL, "LONG", "0.1", leverage=10)
    price = "pos:sl:level:{%s}"
    wait_for(lambda: all(client.exists(price % n) for n in names), 30, "first stops")
    own, whole = [], []
    for number in range(rounds + 1):
        before = {n: client.hget(price % n, "price") for n in names}
        since = paper.ledger()[-1]["n"]
        paper.tick(SYMBOL, 40050 + 10 * number)
        wait_for(lambda: all(client.hget(price % n, "price") != before[n] for n in names), 30, "moved stops")  # noqa: B023
        wait_for(lambda: not client.zcard("s6:outbox"), 30, "snapshots in the store")
        theirs = s4_shares(paper.ledger(since=since))  # type: ignore[arg-type]
        for name in names if number else ():  # the first round makes connections and is not counted
            taken = last_move(s6.env["S6_STORE_URL"], name)
            whole.append(taken)
            own.append(taken - theirs[name])
    return own, whole


def last_move(store_url: str, position_id: str) -> float:
    """Decision to acceptance of the newest stop move."""
    store = open_store(store_url)
    newest = store.snapshots(position_id=position_id, limit=20, newest_first=True).items
    store.close()
    moves = [doc for doc in newest if "STOP_MOVE" in str(doc["cause"])]
    accepted = next(int(doc["ts"]) for doc in moves if doc["phase"] == "AFTER")  # type: ignore[call-overload]
    decided = next(int(doc["ts"]) for doc in moves if doc["phase"] == "BEFORE")  # type: ignore[call-overload]
    return float(accepted - decided)


def s4_shares(records: list[dict[str, Any]]) -> dict[str, float]:
    """Per position, what S4 took: both answers, and the wait from the cancel's answer to its outcome."""
    shares: dict[str, float] = {}
    asked = {r["n"]: r for r in records if r["what"] == "request"}
    answered: dict[str, int] = {}
    for record in records:
        if record["what"] == "answer" and record["request"] in asked:
            request = asked[record["request"]]
            name = request["body"]["position_id"]
            shares[name] = shares.get(name, 0) + record["ts"] - request["ts"]
            answered[name] = record["ts"]
        elif record["what"] == "result" and record["fields"]["status"] == "CANCELED":
            name = record["fields"]["position_id"]
            shares[name] += max(0, record["ts"] - answered[name])
    return shares


def bare_chains(s6: S6Processes, url: str, count: int, rounds: int) -> list[float]:
    """Durations of chains of three empty tasks, in ms."""
    s6.run("bare", "celery -A tests.bench.bare worker --pool threads --without-gossip --without-mingle -Q bare")
    os.environ.update(s6.env)
    from celery import chain

    from tests.bench.bare import DONE, last, link

    client: Any = Redis.from_url(url, decode_responses=True)
    warm = chain(link.si(), link.si(), last.si(time.time(), url))
    warm.apply_async()
    wait_for(lambda: client.llen(DONE) == 1, 60, "the bare worker")
    client.delete(DONE)
    for number in range(1, rounds + 1):
        for _ in range(count):
            chain(link.si(), link.si(), last.si(time.time(), url)).apply_async()
        wait_for(lambda: client.llen(DONE) == count * number, 30, "bare chains")  # noqa: B023
    return [float(text) * 1000 for text in client.lrange(DONE, 0, -1)]


def at(values: list[float], share: float) -> float:
    """The value below which that share of all lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


if __name__ == "__main__":
    main()
