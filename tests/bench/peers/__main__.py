"""``python -m tests.bench.peers [--positions 3000]``: one job, a task a position, on S6 and on others side by side.

Each has one worker process, with 16 threads where it has threads, and a sender in a process of its own. Positions count
from the first one's sending until the last one's result is written. S6's own batch evaluates as many
positions at rest: it takes each one's lock, loads the whole state, plans, and writes when to look again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from s6 import keys
from s6.standalone.redis_single import EmbeddedRedis
from tests.bench.filling import Filling, quiet_names
from tests.bench.peers import job
from tests.bench.world import world
from tests.support.procs import BIN, ROOT, Process
from tests.support.waiting import wait_for

THREADS: Final = 16
SYMBOLS: Final = 20
MODULE: Final = "tests.bench.peers.with_"
WORKERS: Final = {
    "celery": f"celery -A {MODULE}celery worker --pool threads -c {THREADS} --without-gossip --without-mingle",
    "dramatiq": f"dramatiq {MODULE}dramatiq --processes 1 --threads {THREADS}",
    "rq": "rq worker --worker-class rq.SimpleWorker --url $BENCH_REDIS_URL --quiet peers",
    "huey": f"huey_consumer {MODULE}huey.huey -w {THREADS} -k thread",
    "taskiq": f"taskiq worker {MODULE}taskiq:broker --workers 1 --max-threadpool-threads {THREADS}",
}
LONGEST_S: Final = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--positions", type=int, default=3_000)
    parser.add_argument("--send", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.send:
        importlib.import_module(MODULE + asked.send).send([f"p{number}" for number in range(asked.positions)])
        return
    rates = {name: _rate_or_error(name, asked.positions) for name in WORKERS}
    rates["S6's own batch"] = own_rate(asked.positions)
    base, own = rates["celery"], rates["S6's own batch"]
    print("| positions/s, one task each | /s | × plain Celery | × S6's own batch |\n|---|---|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} | {rate / base if base else 0:.2f} | {rate / own:.2f} |")
    out = ROOT / "var" / "bench.json"
    document: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({**document, "peers": rates}, ensure_ascii=False, indent=1) + "\n")


def _rate_or_error(name: str, count: int) -> float:
    """Return the positions a second, 0 if that could not be measured."""
    try:
        return rate(name, count)
    except (AssertionError, subprocess.SubprocessError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 0.0


def rate(name: str, count: int) -> float:
    """Return how many positions a second one of the others evaluates."""
    with tempfile.TemporaryDirectory(prefix="s6-peers-") as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        os.environ[job.URL] = server.url(0)
        job.redis.cache_clear()
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        job.positions(count)
        worker = Process(name, WORKERS[name], Path(folder), env)
        try:
            _send(name, 50, env)
            _done(50, worker)
            job.redis().delete(job.DONE)
            began = time.monotonic()
            _send(name, count, env)
            _done(count, worker)
            return count / (time.monotonic() - began)
        finally:
            worker.kill()


def _send(name: str, count: int, env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "tests.bench.peers", "--send", name, "--positions", str(count)]
    subprocess.run(command, cwd=ROOT, env=env, check=True, timeout=LONGEST_S)


def _done(count: int, worker: Process) -> None:
    try:
        wait_for(lambda: int(job.redis().get(job.DONE) or 0) >= count, LONGEST_S, "the last result", every=0.01)
    except AssertionError as error:
        raise AssertionError(f"{error}: {worker.tail(5)}") from None


def own_rate(count: int) -> float:
    """Return how many positions a second S6's worker evaluates."""
    with world("worker", "beat", "listener", symbol_count=SYMBOLS) as running:
        filling = Filling(running, running.symbols[0])
        names = list(quiet_names(running.symbols, count // SYMBOLS))
        filling.fill(names)
        filling.look()
        time.sleep(10)
        running.at_rest()
        os.environ.update(running.s6.env)
        from s6.bootstrap import build
        from s6.settings import load_settings
        from tasks.hints import CeleryHints

        hints = build(load_settings(running.s6.env), CeleryHints()).hints
        hints.evaluate_many(names[:50])
        running.at_rest()
        began = time.monotonic()
        hints.evaluate_many(names)
        wait_for(lambda: not running.redis.zcard(keys.LOOKS), LONGEST_S, "S6's evaluations", every=0.01)
        return len(names) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
