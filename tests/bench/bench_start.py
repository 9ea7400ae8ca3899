"""How long the processes' own imports take at a start, with the bytecode of `make install` and without any.

    python tests/bench/bench_start.py [--rounds 7]

Each round starts an interpreter for each process type, once with the bytecode that is there and once where Python looks
for it in an empty folder and may not write any: so does a process whose image or environment was never compiled.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMPORTS = {"worker, beat": "tasks", "listener": "s6.listener, tasks.hints", "web": "web.wsgi"}
SETTINGS = {
    "S6_REDIS_URL": "redis://127.0.0.1:9/0",
    "S6_API_TOKENS": "bench:ops:secret",
    **{f"S6_{name}_URL": "http://127.0.0.1:9" for name in ("S1", "S4", "S10", "S12")},
}


def start_s(modules: str, environment: dict[str, str]) -> float:
    """Return the seconds from an interpreter's start to its end, with these modules imported between."""
    given = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **SETTINGS, **environment}
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {modules}"], cwd=ROOT, env=given, check=True)
    return time.monotonic() - began


def main() -> None:
    """Measure and print, one line a process type."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        empty = {"PYTHONPYCACHEPREFIX": folder}
        for name, modules in IMPORTS.items():
            pairs = [(start_s(modules, {}), start_s(modules, empty)) for _ in range(rounds)]
            compiled, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratio = statistics.median(without / having for having, without in pairs)
            print(f"{name:14} with {compiled:5.2f} s  without {bare:5.2f} s  ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
