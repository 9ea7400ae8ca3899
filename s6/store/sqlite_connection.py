"""SQLite connections: one per thread and process, with the same settings, errors as the store's own."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from s6.store.port import StoreError, StoreUnavailable

OLDEST_SQLITE = 3_051_003
"""Before SQLite 3.51.3 several writers in WAL mode could, rarely, corrupt the file (the WAL-reset race)."""

SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS positions_snapshots (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, position_id TEXT NOT NULL, seq INTEGER NOT NULL,
    symbol TEXT NOT NULL, ts INTEGER NOT NULL, status TEXT NOT NULL, doc TEXT NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS snapshots_position_id_seq ON positions_snapshots (position_id, seq);
CREATE INDEX IF NOT EXISTS snapshots_symbol ON positions_snapshots (symbol);
CREATE INDEX IF NOT EXISTS snapshots_ts ON positions_snapshots (ts);
CREATE INDEX IF NOT EXISTS snapshots_symbol_ts ON positions_snapshots (symbol, ts);
CREATE INDEX IF NOT EXISTS snapshots_closed ON positions_snapshots (ts, id) WHERE status = 'CLOSED';
CREATE TABLE IF NOT EXISTS treasury_transfers (
    transfer_id TEXT PRIMARY KEY, ts INTEGER NOT NULL, status TEXT NOT NULL, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS transfers_ts ON treasury_transfers (ts, transfer_id);
CREATE UNIQUE INDEX IF NOT EXISTS transfers_turn ON treasury_transfers (doc ->> '$.turn');
CREATE TABLE IF NOT EXISTS alerts (
    alert_id TEXT PRIMARY KEY, ts INTEGER NOT NULL, severity TEXT NOT NULL, acked INTEGER NOT NULL,
    standing INTEGER NOT NULL, doc TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS alerts_ts ON alerts (ts, alert_id);
CREATE INDEX IF NOT EXISTS alerts_standing ON alerts (ts, alert_id) WHERE standing;
"""

_WAITS = (apsw.BusyError, apsw.LockedError, apsw.IOError, apsw.FullError, apsw.CantOpenError, apsw.InterruptError)


class Connections:
    """Gives each thread its own connection to one file. A thread's first use opens it, so after any fork.

    Opening creates the file, its folder and the schema if they are missing.
    """

    def __init__(self, path: Path, busy_timeout_ms: int) -> None:
        if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE or _library_version() < OLDEST_SQLITE:
            raise StoreError(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt a file that several processes write: 3.51.3 is needed"
            )
        self._path = path
        self._busy_timeout_ms = busy_timeout_ms
        self._lock = threading.Lock()
        self._local = threading.local()
        self._pid = os.getpid()
        self._open: list[tuple[threading.Thread, apsw.Connection]] = []
        self._inherited: list[apsw.Connection] = []

    @contextmanager
    def use(self) -> Iterator[apsw.Connection]:
        """Yield this thread's connection. Raises ``StoreError`` or ``StoreUnavailable`` for SQLite's errors."""
        with self._translated():
            yield self._connection()

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Yield the connection within BEGIN IMMEDIATE ... COMMIT, as the sole writer. Any error rolls it back."""
        with self._translated():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # After some errors (disk full, I/O) SQLite has rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connections of all threads of this process."""
        with self._lock, self._translated():
            self._after_fork()
            for _, connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()

    def ensure_schema(self) -> None:
        """Create what is missing, whichever version the file names."""
        with self._translated():
            _create_schema(self._connection())

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _WAITS as error:
            raise StoreUnavailable(f"SQLite {self._path}: {error}") from error
        except apsw.Error as error:
            raise StoreError(f"SQLite {self._path}: {error}") from error
        except OSError as error:
            raise StoreUnavailable(f"SQLite {self._path}: {error}") from error

    def _connection(self) -> apsw.Connection:
        made_by, connection = getattr(self._local, "made", (0, None))
        if connection is None or made_by != os.getpid():
            connection = self._connect()
            with self._lock:
                self._after_fork()
                self._close_orphans()
                self._open.append((threading.current_thread(), connection))
            self._local.made = (os.getpid(), connection)
        return connection

    def _after_fork(self) -> None:
        # A forked child must not use its parent's connections, nor close them: closing would drop the parent's locks.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._inherited.extend(connection for _, connection in self._open)
            self._open.clear()

    def _close_orphans(self) -> None:
        for thread, connection in self._open:
            if not thread.is_alive():
                connection.close()
        self._open = [(thread, connection) for thread, connection in self._open if thread.is_alive()]

    def _connect(self) -> apsw.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(str(self._path))
        connection.set_busy_handler(_patience(self._busy_timeout_ms / 1000))
        self._use_wal(connection)
        # FULL puts a commit on the disk before it returns. NORMAL survives a killed process but not a power cut, and
        # other parts of S6 forget what the store has confirmed. Batches keep the cost (one fsync) small.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA cache_size = -32768")
        version = int(str(connection.pragma("user_version")))
        if version > SCHEMA_VERSION:
            raise StoreError(f"SQLite {self._path}: schema {version} is newer than this program's {SCHEMA_VERSION}")
        if version < SCHEMA_VERSION:
            _create_schema(connection)
        return connection

    def _use_wal(self, connection: apsw.Connection) -> None:
        # The busy timeout does not cover the switch to WAL when processes start together.
        deadline = time.monotonic() + self._busy_timeout_ms / 1000
        while connection.pragma("journal_mode") != "wal":
            try:
                connection.pragma("journal_mode", "wal")
            except apsw.BusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


def _patience(seconds: float) -> Callable[[int], bool]:
    """Return a busy handler that waits up to ``seconds``. SQLite's own sleeps ever longer, so latecomers overtake."""
    deadline = 0.0

    def wait(attempt: int) -> bool:
        nonlocal deadline
        now = time.monotonic()
        if attempt == 0:
            deadline = now + seconds
        time.sleep(random.uniform(0.0005, 0.004))
        return now < deadline

    return wait


def _create_schema(connection: apsw.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(SCHEMA)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _library_version() -> int:
    major, minor, patch = (int(part) for part in apsw.sqlite_lib_version().split(".")[:3])
    return major * 1_000_000 + minor * 1_000 + patch
