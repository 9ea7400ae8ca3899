"""Keeps the paper exchange's state across a restart, in one small SQLite file written with every change."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

_KEEP = 100_000  # opening the file keeps this many of the newest things of a kind


class Vault:
    """Keeps texts by kind and key. Without a path it keeps nothing. It survives a killed process, not a power cut."""

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._file: sqlite3.Connection | None = None
        if path is not None:
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = OFF")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS things (n INTEGER PRIMARY KEY, kind TEXT, key TEXT, value TEXT,"
                " UNIQUE (kind, key))"
            )
            self._file.execute("DELETE FROM things WHERE n <= (SELECT max(n) FROM things) - ?", (_KEEP,))

    def keep(self, kind: str, key: str, value: str) -> None:
        """Store a thing under its kind and key, replacing the old one."""
        with self._lock:
            if self._file is not None:
                self._file.execute(
                    "INSERT OR REPLACE INTO things (kind, key, value) VALUES (?, ?, ?)", (kind, key, value)
                )

    def all(self, kind: str) -> Iterator[str]:
        """Yield the things of a kind, the longest unchanged first."""
        with self._lock:
            rows = (
                self._file.execute("SELECT value FROM things WHERE kind = ? ORDER BY n", (kind,)) if self._file else ()
            )
            found = [str(row[0]) for row in rows]
        return iter(found)

    def close(self) -> None:
        """Close the file. Later changes are not kept."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
