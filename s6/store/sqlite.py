"""The history in one SQLite file: the embedded default."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import apsw

from s6.store.documents import (
    SnapshotId,
    decode,
    encode,
    integer_of,
    make_cursor,
    page_size,
    read_cursor,
    read_number_cursor,
    snapshot_id,
    statuses,
    text_of,
    without_key,
)
from s6.store.port import (
    ALERTS,
    FINAL_TRANSFER_STATUSES,
    SNAPSHOTS,
    TRANSFERS,
    Document,
    Page,
    StoreConflict,
    StoreRefused,
    is_standing,
)
from s6.store.sqlite_connection import Connections

_END = (1 << 63) - 1
_LATEST_CHUNK = 500
_PRUNE_CHUNK = 2000

_CLOSED = (
    "status = 'CLOSED' AND NOT EXISTS (SELECT 1 FROM positions_snapshots AS later"
    " WHERE later.position_id = positions_snapshots.position_id AND later.seq > positions_snapshots.seq) AND "
)
"""The condition that a snapshot is the latest of a closed position."""

_Row = tuple[SnapshotId, str]


class SqliteStore:
    """Implements the Store port on a file that any number of processes and threads share.

    A row holds the document's JSON text beside the indexed columns, so numbers keep every digit. A write is one
    transaction and is on the disk when it returns.
    """

    def __init__(self, path: Path, *, busy_timeout_ms: int = 5000) -> None:
        self._connections = Connections(path, busy_timeout_ms)

    @classmethod
    def from_url(cls, url: str) -> SqliteStore:
        """Create the store of ``sqlite:///relative`` or ``sqlite:////absolute``. Raises ``ValueError``."""
        prefix = "sqlite:///"
        path = unquote(url.removeprefix(prefix))
        if not url.startswith(prefix) or not path or path.endswith("/") or path == ":memory:":
            raise ValueError("a SQLite store URL is sqlite:///relative/file or sqlite:////absolute/file")
        return cls(Path(path))

    def init(self) -> None:
        self._connections.ensure_schema()

    def ping(self) -> None:
        with self._connections.use() as db:
            db.execute("SELECT id FROM positions_snapshots LIMIT 1").fetchall()

    def write_snapshots(self, docs: Sequence[Mapping[str, object]]) -> None:
        rows = [(snapshot_id(doc), encode(doc)) for doc in docs]
        if not rows:
            return
        with self._connections.transaction() as db:
            before = db.total_changes()
            db.executemany(
                "INSERT INTO positions_snapshots (key, position_id, seq, symbol, ts, status, doc)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                ((*row, text) for row, text in rows),
            )
            known = len(rows) - (db.total_changes() - before)
            conflicts = _conflicts(db, rows) if known else []
        if conflicts:
            raise StoreConflict(conflicts)

    def snapshots(
        self,
        *,
        position_id: str | None = None,
        symbol: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page:
        where, args = ("symbol = ? AND ", [symbol]) if symbol is not None else ("", [])
        if position_id is None:
            return self._by_time(SNAPSHOTS, "id", where, args, limit, cursor, newest_first)
        after = read_number_cursor(cursor) if cursor else _END if newest_first else 0
        where += f"position_id = ? AND seq {'<' if newest_first else '>'} ?"
        return self._page(SNAPSHOTS, "seq", "seq", where, [*args, position_id, after], limit, newest_first)

    def latest(self) -> Iterator[Document]:
        after: object = ""
        while True:
            with self._connections.use() as db:
                rows = db.execute(
                    "SELECT position_id, doc FROM (SELECT position_id, max(seq) AS seq FROM positions_snapshots"
                    " WHERE position_id > ? GROUP BY position_id ORDER BY position_id LIMIT ?)"
                    " JOIN positions_snapshots USING (position_id, seq) ORDER BY position_id",
                    (after, _LATEST_CHUNK),
                ).fetchall()
            yield from (decode(text) for _, text in rows)
            if len(rows) < _LATEST_CHUNK:
                return
            after = rows[-1][0]

    def closed(self, *, symbol: str | None = None, limit: int = 100, cursor: str | None = None) -> Page:
        where, args = (_CLOSED + "symbol = ? AND ", [symbol]) if symbol is not None else (_CLOSED, [])
        return self._by_time(SNAPSHOTS, "id", where, args, limit, cursor)

    def write_alerts(self, docs: Sequence[Mapping[str, object]]) -> None:
        rows = [
            (
                text_of(doc, "alert_id"),
                integer_of(doc, "ts"),
                text_of(doc, "severity"),
                int(doc.get("ack") is not None),
                int(is_standing(doc)),
                encode(without_key(doc)),
            )
            for doc in docs
        ]
        if not rows:
            return
        with self._connections.transaction() as db:
            db.executemany(
                "INSERT INTO alerts (alert_id, ts, severity, acked, standing, doc) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (alert_id) DO UPDATE SET ts = excluded.ts, severity = excluded.severity,"
                " acked = excluded.acked, standing = excluded.standing, doc = excluded.doc"
                " WHERE excluded.acked >= alerts.acked",
                rows,
            )

    def alerts(
        self, *, limit: int = 100, cursor: str | None = None, severity: str | None = None, standing: bool | None = None
    ) -> Page:
        where, args = "", []
        if severity is not None:
            where, args = "severity = ? AND ", [severity]
        if standing is not None:
            where += "standing AND " if standing else "NOT standing AND "
        return self._by_time(ALERTS, "alert_id", where, args, limit, cursor)

    def insert_transfer(self, doc: Mapping[str, object]) -> bool:
        row = (text_of(doc, "transfer_id"), integer_of(doc, "ts"), text_of(doc, "status"), encode(without_key(doc)))
        with self._connections.transaction() as db:
            db.execute("INSERT INTO treasury_transfers VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
            return db.changes() == 1

    def transfer(self, transfer_id: str) -> Document | None:
        with self._connections.use() as db:
            return _transfer(db, transfer_id)

    def update_transfer(
        self, transfer_id: str, *, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None:
        if changes.get("transfer_id", transfer_id) != transfer_id:
            raise StoreRefused("transfer_id cannot be changed")
        with self._connections.transaction() as db:
            doc = _transfer(db, transfer_id)
            if doc is None or doc["status"] not in statuses(expect):
                return None
            doc.update(without_key(changes))
            text = encode(doc)
            db.execute(
                "UPDATE treasury_transfers SET ts = ?, status = ?, doc = ? WHERE transfer_id = ?",
                (integer_of(doc, "ts"), text_of(doc, "status"), text, transfer_id),
            )
            return decode(text)

    def transfers(
        self, *, limit: int = 100, cursor: str | None = None, status: str | Collection[str] | None = None
    ) -> Page:
        if status is None:
            return self._by_time(TRANSFERS, "transfer_id", "", [], limit, cursor)
        wanted = statuses(status)
        where = f"status IN ({', '.join('?' * len(wanted))}) AND "
        return self._by_time(TRANSFERS, "transfer_id", where, wanted, limit, cursor)

    def prune(self, *, before_ts: int) -> dict[str, int]:
        final = ", ".join(f"'{status}'" for status in sorted(FINAL_TRANSFER_STATUSES))
        return {
            SNAPSHOTS: self._prune_snapshots(before_ts),
            TRANSFERS: self._prune(TRANSFERS, f"ts < ? AND status IN ({final})", before_ts),
            ALERTS: self._prune(ALERTS, "ts < ? AND NOT standing", before_ts),
        }

    def close(self) -> None:
        self._connections.close()

    def _by_time(
        self,
        table: str,
        tie: str,
        where: str,
        args: Sequence[object],
        limit: int,
        cursor: str | None,
        newest_first: bool = True,
    ) -> Page:
        if not cursor:
            return self._page(table, "ts", tie, where + "TRUE", args, limit, newest_first)
        ts, last = read_cursor(cursor)
        beyond = read_number_cursor(last) if tie == "id" else last
        # The index on ts serves this form of the condition.
        sign = "<" if newest_first else ">"
        where += f"ts {sign}= ? AND (ts {sign} ? OR {tie} {sign} ?)"
        return self._page(table, "ts", tie, where, [*args, ts, ts, beyond], limit, newest_first)

    def _page(
        self, table: str, order: str, tie: str, where: str, args: Sequence[object], limit: int, descending: bool
    ) -> Page:
        size = page_size(limit)
        direction = "DESC" if descending else "ASC"
        sql = (
            f"SELECT {order}, {tie}, doc FROM {table} WHERE {where}"
            f" ORDER BY {order} {direction}, {tie} {direction} LIMIT ?"
        )
        with self._connections.use() as db:
            rows = db.execute(sql, (*args, size + 1)).fetchall()
        next_cursor = None
        if len(rows) > size:
            place, last, _ = rows[size - 1]
            next_cursor = str(place) if order == tie else make_cursor(place, last)
        return Page([decode(text) for _, _, text in rows[:size]], next_cursor)

    def _prune(self, table: str, condition: str, before_ts: int) -> int:
        with self._connections.transaction() as db:
            db.execute(f"DELETE FROM {table} WHERE {condition}", (before_ts,))
            return db.changes()

    def _prune_snapshots(self, before_ts: int) -> int:
        # It walks along (ts, id) in steps, so that writers come in between and each kept row is read once.
        deleted = 0
        ts: object = 0
        last: object = 0
        while True:
            with self._connections.transaction() as db:
                rows = db.execute(
                    "SELECT ts, id, status = 'OPEN' AND NOT EXISTS (SELECT 1 FROM positions_snapshots AS later"
                    " WHERE later.position_id = old.position_id AND later.seq > old.seq)"
                    " FROM positions_snapshots AS old"
                    " WHERE ts >= ? AND (ts > ? OR id > ?) AND ts < ? ORDER BY ts, id LIMIT ?",
                    (ts, ts, last, before_ts, _PRUNE_CHUNK),
                ).fetchall()
                gone = [(row_id,) for _, row_id, kept in rows if not kept]
                db.executemany("DELETE FROM positions_snapshots WHERE id = ?", gone)
            deleted += len(gone)
            if len(rows) < _PRUNE_CHUNK:
                return deleted
            ts, last, _ = rows[-1]


def _conflicts(db: apsw.Connection, rows: Sequence[_Row]) -> list[tuple[str, int]]:
    """Return the (position_id, seq) of the rows that differ from the stored ones."""
    conflicts = []
    for row, text in rows:
        stored = db.execute(
            "SELECT doc FROM positions_snapshots WHERE position_id = ? AND seq = ?", (row.position_id, row.seq)
        ).fetchone()
        if stored is None or (stored[0] != text and decode(stored[0]) != decode(text)):
            conflicts.append((row.position_id, row.seq))
    return conflicts


def _transfer(db: apsw.Connection, transfer_id: str) -> Document | None:
    row = db.execute("SELECT doc FROM treasury_transfers WHERE transfer_id = ?", (transfer_id,)).fetchone()
    return None if row is None else decode(row[0])
