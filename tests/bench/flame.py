"""``python -m tests.bench.flame``: flame graphs of worker and listener while entries come in, and where the time goes.

The graphs are ``var/flame-ROLE.svg``; the table says which part's code was at work, of the samples in which any was.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from tests.bench.market import name
from tests.bench.world import World, world
from tests.support.procs import BIN, ROOT

SECONDS: Final = 8
ENTRIES: Final = 2_000
PARTS: Final = {
    "Redis client": ("redis/", "hiredis"),
    "Celery and kombu": ("celery/", "kombu/", "vine/", "amqp/"),
    "HTTP to S4": ("requests/", "urllib3/", "http/client", "s6/adapters/http", "socket.py", "ssl.py"),
    "state: commit, load, codec": ("s6/adapters/", "s6/model/", "s6/locks"),
    "plan and rules": ("s6/plan/", "s6/rules/"),
    "booking": ("s6/booking/",),
    "engine": ("s6/engine/",),
    "other S6": ("s6/", "tasks/"),
}


def main() -> None:
    (ROOT / "var").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, world("worker", "beat", "listener") as running:
        symbol = running.symbols[0]
        running.first_stops([name(symbol, f"warm{n}") for n in range(20)])
        recorders = {role: _record(running, role, Path(folder)) for role in ("worker", "listener")}
        running.first_stops([name(symbol, n) for n in range(ENTRIES)])
        print("| part | worker | listener |\n|---|---|---|")
        shares = {role: _shares(Path(folder), role, both) for role, both in recorders.items()}
    for part in (*PARTS, "other"):
        print(f"| {part} | {shares['worker'][part]:.0%} | {shares['listener'][part]:.0%} |")


def _record(running: World, role: str, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Record a process twice: once to be seen, once to be counted."""
    spy = [str(BIN / "py-spy"), "record", "-p", str(running.s6[role].pid), "-d", str(SECONDS), "-r", "100", "--gil"]
    kinds = (("flamegraph", ROOT / "var" / f"flame-{role}.svg"), ("raw", folder / f"{role}.raw"))
    return [
        subprocess.Popen([*spy, "-f", kind, "-o", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for kind, out in kinds
    ]


def _shares(folder: Path, role: str, recorders: list[subprocess.Popen[bytes]]) -> Counter[str]:
    for recorder in recorders:
        recorder.wait(60 + SECONDS)
    samples: Counter[str] = Counter()
    for line in (folder / f"{role}.raw").read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        samples[_part(stack.split(";"))] += int(count)
    whole = max(1, samples.total())
    return Counter({part: count / whole for part, count in samples.items()})


def _part(frames: list[str]) -> str:
    """Return the part to which the innermost frame that is anybody's belongs."""
    for frame in reversed(frames):
        for part, places in PARTS.items():
            if any(place in frame for place in places):
                return part
    return "other"


if __name__ == "__main__":
    main()
