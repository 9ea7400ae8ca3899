"""``python -m tests.mutants``: draw a sample of bugs, try each, say how many the tests noticed.

What was tried is kept, so that a run that is broken off, or done in slices (``--limit``), goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutants.planting import TARGETS, Bug, modules, sample
from tests.mutants.trial import Verdict, Workshop

ROOT: Final = Path(__file__).resolve().parents[2]
ENOUGH: Final = 0.9


def main() -> int:
    """Returns 0 when at least 90 % of the sample was noticed, or some of it is still to be tried."""
    asked = _arguments()
    drawn = sample(ROOT, modules(ROOT, asked.targets), asked.sample, asked.seed)
    notes = ROOT / "var" / f"mutants-{asked.seed}-{asked.sample}.jsonl"
    notes.parent.mkdir(exist_ok=True)
    known = _known(notes)
    new = [bug for bug in drawn if str(bug) not in known]
    due = (new + [bug for bug in drawn if known.get(str(bug)) == ""])[: asked.limit]
    with notes.open("a") as out, tempfile.TemporaryDirectory(prefix="s6-mutants-") as folder:
        for verdict in _tried(due, Path(folder), asked.jobs):
            print(
                f"{'noticed' if verdict.by else 'MISSED '} {verdict.seconds:5.1f} s  {verdict.bug}  {verdict.by}",
                flush=True,
            )
            known[str(verdict.bug)] = verdict.by
            row = {"bug": str(verdict.bug), "by": verdict.by, "source": _digest_of(verdict.bug.module)}
            out.write(json.dumps(row) + "\n")
            out.flush()
    return _report(drawn, known)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS, help="modules or folders to plant bugs in")
    parser.add_argument("--sample", type=int, default=60, help="how many bugs")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--jobs", type=int, default=2, help="how many to try at once")
    parser.add_argument("--limit", type=int, default=None, help="how many to try now; the next run goes on")
    return parser.parse_args()


def _known(notes: Path) -> dict[str, str]:
    """What earlier runs came to in modules that are still the same. What they missed (empty) is tried again, last."""
    rows = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
    digests = {name: _digest_of(name) for name in modules(ROOT)}
    return {row["bug"]: row["by"] for row in rows if row["source"] == digests.get(row["bug"].partition(":")[0])}


def _digest_of(module: str) -> str:
    return hashlib.sha256((ROOT / module).read_bytes()).hexdigest()[:12]


def _tried(due: list[Bug], folder: Path, jobs: int) -> Iterator[Verdict]:
    if not due:
        return
    free: SimpleQueue[Workshop] = SimpleQueue()
    shops = [Workshop(ROOT, folder / str(number)) for number in range(min(jobs, len(due)))]
    failing = shops[0].unharmed()
    if failing:
        sys.exit(f"{failing} fails without any bug planted")
    for shop in shops:
        free.put(shop)

    @contextmanager
    def borrowed() -> Iterator[Workshop]:
        shop = free.get()
        try:
            yield shop
        finally:
            free.put(shop)

    def judge(bug: Bug) -> Verdict:
        with borrowed() as shop:
            return shop.judge(bug)

    with ThreadPoolExecutor(len(shops)) as pool:
        yield from pool.map(judge, due)


def _report(drawn: list[Bug], known: dict[str, str]) -> int:
    tried = [bug for bug in drawn if str(bug) in known]
    missed = [bug for bug in tried if not known[str(bug)]]
    for bug in missed:
        line = (ROOT / bug.module).read_text().splitlines()[bug.line - 1]
        print(f"missed: {bug}\n    {line.strip()}")
    share = 1 - len(missed) / len(tried) if tried else 0.0
    print(f"{len(tried) - len(missed)} of {len(tried)} planted bugs noticed ({share:.0%}); {len(drawn)} drawn")
    return int(len(tried) == len(drawn) and share < ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
