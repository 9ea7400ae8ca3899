"""``python -m tests.bench [--rows results,entries] [--scale small] [--peers]``: measure, print one table, write JSON.

Rows run one after the other, each in a process of its own with servers of its own. One that fails says so and stops no
other. What their processes print is in ``var/bench/``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.bench.measuring import Row, Scale

ROOT: Final = Path(__file__).resolve().parents[2]
VAR: Final = ROOT / "var"
ROWS: Final = ("results", "entries", "moves", "growth", "crossing", "cold_start", "successors", "idle")
LONGEST_S: Final = 1_200.0


def main() -> int:
    asked = _arguments()
    if asked.one:
        _measure(asked.one, Scale(asked.scale == "small"), Path(asked.out))
        return 0
    names = asked.rows.split(",") if asked.rows else ROWS
    if unknown := sorted(set(names) - set(ROWS)):
        print(f"unknown rows: {', '.join(unknown)}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    (VAR / "bench").mkdir(parents=True, exist_ok=True)
    began, rows = time.time(), []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        rows += _row(name, asked.scale)
    document: dict[str, Any] = {"at": int(began), "scale": asked.scale, "machine": _machine(), "rows": rows}
    (VAR / "bench.json").write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    print(table(rows))
    print(f"\n{_machine()}; {time.time() - began:.0f} s; {VAR / 'bench.json'}")
    return 0


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table that is also Markdown."""
    lines = ["| what | wanted | reached | ok |", "|---|---|---|---|"]
    return "\n".join(
        lines + [f"| {r['what']} | {r['wanted']} | {r['reached']} | {'yes' if r['ok'] else 'no'} |" for r in rows]
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rows", default="", help=f"some of {','.join(ROWS)}")
    parser.add_argument("--scale", choices=("full", "small"), default="full", help="small: try it in seconds a row")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    parser.add_argument("--out", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _row(name: str, scale: str) -> list[dict[str, Any]]:
    """Measure in a process of its own. Returns its lines, and one more if it failed."""
    out, log = VAR / "bench" / f"{name}.jsonl", VAR / "bench" / f"{name}.log"
    out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.bench", "--one", name, "--out", str(out), "--scale", scale]
    error = ""
    with log.open("wb") as to:
        try:
            code = subprocess.run(command, cwd=ROOT, stdout=to, stderr=subprocess.STDOUT, timeout=LONGEST_S).returncode
        except subprocess.TimeoutExpired:
            code, error = 1, f"not within {LONGEST_S:.0f} s"
    rows = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    if code:
        text = [line for line in log.read_text(errors="replace").splitlines() if "Error: " in line]
        error = error or (text[-1][:150] if text else f"exit code {code}")
        rows.append(Row(name, "", f"{error} (var/bench/{name}.log)", False).doc())
    return rows


def _measure(name: str, scale: Scale, out: Path) -> None:
    with out.open("w") as to:
        for row in importlib.import_module(f"tests.bench.rows.{name}").measure(scale):
            to.write(json.dumps(row.doc(), ensure_ascii=False) + "\n")
            to.flush()


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


if __name__ == "__main__":
    sys.exit(main())
