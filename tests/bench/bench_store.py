"""How fast the SQLite history takes snapshots from several processes, and that killing them loses none.

    python tests/bench/bench_store.py [--rows 1000000] [--processes 4] [--kills 8]

Processes write snapshots in batches and report each batch once the store has returned. Some are ended by SIGKILL at
random moments and started again from their last reported batch. Then every snapshot is counted, and the latest 100 of
a symbol are read. Beside it the same bytes go into a bare table, by one process, as the machine's own measure.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import apsw

sys.path.insert(0, str(Path(__file__).parents[2]))

from s6.store import Document, Store, open_store
from s6.store.documents import dumps

BATCH = 500
SYMBOLS = [f"SYM{number:02d}USDT" for number in range(20)]
LIFE = 50
"""Snapshots of one position."""


LADDER = [{"roe": Decimal("0.8"), "fraction": Decimal("0.33")}, {"roe": Decimal("1.5"), "fraction": Decimal("0.5")}]


def figures(price: Decimal) -> Document:
    """The money of a snapshot, as numbers and once more as exact text."""
    money = {
        "qty": Decimal("1.234"),
        "entry_price_avg": price,
        "isolated_margin_usdt": Decimal("1061.24"),
        "unrealized_pnl_usdt": Decimal("12.34567"),
        "realized_pnl_usdt": Decimal("-3.21"),
        "roe": Decimal("0.0116332"),
        "mark": price + 10,
        "sl_price": price - 800,
    }
    return {**money, "exact": {name: str(value) for name, value in money.items()}}


FIGURES = [figures(Decimal(43000) + Decimal(step) / 10) for step in range(64)]


def snapshot(writer: int, number: int) -> Document:
    """The writer's ``number``-th snapshot, of the shape and size that the product writes."""
    position, seq = divmod(number, LIFE)
    position_id = f"w{writer}-{position:06d}"
    ts = 1_700_000_000_000 + number * 40 + writer
    return {
        "_key": f"{position_id}-{seq + 1:08d}",
        "position_id": position_id,
        "seq": seq + 1,
        "phase": "RESULT",
        "symbol": SYMBOLS[position % len(SYMBOLS)],
        "market": "FUT",
        "side": "LONG",
        "status": "CLOSED" if seq + 1 == LIFE else "OPEN",
        **FIGURES[number % len(FIGURES)],
        "add_on_count": 1,
        "sl_level": 2,
        "paused": False,
        "cause": "ord:result",
        "bundle_version": "b-0007",
        "ts": ts,
        "ladder": LADDER,
    }


def write(url: str, writer: int, first: int, rows: int, report: int) -> None:
    """A writing process: from the ``first`` snapshot on, each batch reported when it is stored."""
    store = open_store(url)
    for start in range(first, rows, BATCH):
        end = min(start + BATCH, rows)
        store.write_snapshots([snapshot(writer, number) for number in range(start, end)])
        os.write(report, end.to_bytes(4, "big"))
    os._exit(0)


@dataclass
class Writer:
    """One writer: its process at work, and how many snapshots it has reported as stored."""

    number: int
    rows: int
    pid: int = 0
    done: int = 0
    pipe: int = -1
    unread: bytes = field(default=b"")

    def start(self, url: str) -> None:
        self.pipe, report = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            write(url, self.number, self.done, self.rows, report)
        os.close(report)
        os.set_blocking(self.pipe, False)

    def read_reports(self) -> None:
        try:
            while chunk := os.read(self.pipe, 65536):
                self.unread += chunk
        except BlockingIOError:
            pass
        whole = len(self.unread) // 4 * 4
        if whole:
            self.done = int.from_bytes(self.unread[whole - 4 : whole], "big")
            self.unread = self.unread[whole:]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.ended()

    def ended(self) -> None:
        os.waitpid(self.pid, 0)
        self.read_reports()
        os.close(self.pipe)
        self.pid = 0


def run_writers(url: str, rows: int, processes: int, kills: int) -> float:
    """Have all rows written, killing on the way; the seconds it took."""
    chance = random.Random(7)
    share = rows // processes
    writers = [Writer(number, share + (rows % processes if number == 0 else 0)) for number in range(processes)]
    kill_at = sorted(chance.uniform(0.05, 0.9) * rows for _ in range(kills))
    started = time.monotonic()
    for writer in writers:
        writer.start(url)
    while any(writer.done < writer.rows for writer in writers):
        time.sleep(0.005)
        for writer in writers:
            if writer.pid:
                writer.read_reports()
                if writer.done == writer.rows:
                    writer.ended()
        if kill_at and sum(writer.done for writer in writers) >= kill_at[0]:
            kill_at.pop(0)
            victim = chance.choice([writer for writer in writers if writer.pid] or writers)
            if victim.pid:
                victim.kill()
                victim.start(url)
    taken = time.monotonic() - started
    for writer in writers:
        if writer.pid:
            writer.ended()
    return taken


def plain(path: Path, rows: int) -> float:
    """Rows a second of the same bytes by one process into a bare table, as blobs, with the same durability."""
    blobs = [(dumps(snapshot(0, number)).encode(),) for number in range(min(rows, 50_000))]
    db = apsw.Connection(str(path))
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "FULL")
    db.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY, doc BLOB)")
    started = time.monotonic()
    for start in range(0, len(blobs), BATCH):
        with db:
            db.executemany("INSERT INTO plain (doc) VALUES (?)", blobs[start : start + BATCH])
    taken = time.monotonic() - started
    db.close()
    return len(blobs) / taken


def read_times(store: Store) -> Iterator[float]:
    """Milliseconds to read the latest 100 snapshots of each symbol."""
    for symbol in SYMBOLS:
        started = time.perf_counter()
        page = store.snapshots(symbol=symbol, limit=100, newest_first=True)
        yield (time.perf_counter() - started) * 1000
        assert len(page.items) == 100 or page.next_cursor is None


def verify(path: Path, rows: int, processes: int) -> None:
    """Every snapshot is there once, and the file is sound."""
    db = apsw.Connection(str(path))
    counted = db.execute("SELECT count(*), count(DISTINCT key) FROM positions_snapshots").fetchone()
    assert counted == (rows, rows), f"{counted} of {rows} snapshots are there"
    gaps = db.execute(
        "SELECT count(*) FROM (SELECT count(*) AS n, max(seq) AS top FROM positions_snapshots"
        " GROUP BY position_id HAVING n <> top)"
    ).fetchone()
    assert gaps == (0,), f"{gaps} positions have gaps"
    assert db.pragma("quick_check") == "ok"
    db.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--processes", type=int, default=4)
    options.add_argument("--kills", type=int, default=8)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare = plain(Path(folder) / "plain.db", given.rows)
        path = Path(folder) / "history.db"
        url = f"sqlite:///{path}"
        open_store(url).init()
        taken = run_writers(url, given.rows, given.processes, given.kills)
        rate = given.rows / taken
        verify(path, given.rows, given.processes)
        store = open_store(url)
        times = sorted(read_times(store))
        started = time.monotonic()
        positions = sum(1 for _ in store.latest())
        cold = time.monotonic() - started
        store.close()
        size = path.stat().st_size / given.rows
    print(f"{'snapshots':38} {given.rows:>12,}  ({size:,.0f} bytes each, indexes included)")
    print(f"{'processes, killed on the way':38} {given.processes:>12}  {given.kills}")
    print(f"{'written, rows/s':38} {rate:>12,.0f}  in {taken:.1f} s, none lost, none doubled")
    print(f"{'bare table, 1 process, rows/s':38} {bare:>12,.0f}  ratio {rate / bare:.2f}")
    print(f"{'latest 100 of a symbol, median ms':38} {statistics.median(times):>12.2f}  worst {times[-1]:.2f}")
    print(f"{'latest of every position, rows/s':38} {positions / cold:>12,.0f}  {positions:,} in {cold:.1f} s")


if __name__ == "__main__":
    main()
