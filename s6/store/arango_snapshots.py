"""Writes snapshots to ArangoDB: each once, with the time after which it may expire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from arango.database import StandardDatabase
from arango.exceptions import ArangoServerError

from s6.store import aql
from s6.store.arango_connection import UNIQUE_VIOLATED, as_store_error, rows
from s6.store.arango_documents import as_doubles, without_own
from s6.store.documents import SnapshotId
from s6.store.port import SNAPSHOTS, Document, StoreUnavailable

_Doc = Mapping[str, object]


def write_chunk(
    db: StandardDatabase, docs: Sequence[_Doc], ids: Sequence[SnapshotId], retention_s: int | None
) -> list[tuple[str, int]]:
    """Write one request's snapshots.

    With ``retention_s`` (seconds), all but the latest snapshot of an open position get ``expires_at`` (seconds) for the
    TTL index. Returns the (position_id, seq) of the documents that contradict a stored one.
    """
    stamped = [dict(doc) for doc in docs] if retention_s is None else _with_expiry(docs, ids, retention_s)
    # overwrite_mode="ignore" would take a different document with the same key for a repetition.
    answers = db.collection(SNAPSHOTS).insert_many(stamped, sync=True)
    if not isinstance(answers, list) or len(answers) != len(docs):
        raise StoreUnavailable("ArangoDB answered a list of documents with something else")
    known = []
    for doc, row, answer in zip(docs, ids, answers, strict=True):
        if not isinstance(answer, ArangoServerError):
            continue
        if answer.error_code != UNIQUE_VIOLATED:
            raise as_store_error(answer, f"ArangoDB, snapshot {row.position_id} seq {row.seq}")
        known.append((row, doc))
    conflicts = _conflicts(db, known) if known else []
    if retention_s is not None:
        _expire_predecessors(db, ids, retention_s)
    return conflicts


def _with_expiry(docs: Sequence[_Doc], ids: Sequence[SnapshotId], retention_s: int) -> list[Document]:
    last = {row.position_id: row.seq for row in sorted(ids, key=lambda row: row.seq)}
    return [
        dict(doc)
        if row.status == "OPEN" and row.seq == last[row.position_id]
        else {**doc, "expires_at": row.ts // 1000 + retention_s}
        for doc, row in zip(docs, ids, strict=True)
    ]


def _expire_predecessors(db: StandardDatabase, ids: Sequence[SnapshotId], retention_s: int) -> None:
    """Set the expiry of each position's former latest snapshot: the one before the first of ``ids``."""
    first = {row.position_id: row.seq for row in sorted(ids, key=lambda row: -row.seq)}
    marks = [{"position_id": position_id, "seq": seq} for position_id, seq in first.items() if seq > 1]
    if marks:
        rows(db, aql.EXPIRE_PREDECESSORS, marks=marks, retention_s=retention_s)


def _conflicts(db: StandardDatabase, known: Sequence[tuple[SnapshotId, _Doc]]) -> list[tuple[str, int]]:
    """Return the (position_id, seq) of those documents in ``known`` that differ from the stored ones."""
    found = rows(db, aql.BY_KEYS, keys=[row.key for row, _ in known])
    stored = {str(doc["_key"]): as_doubles(without_own(doc)) for doc in found}
    return [(row.position_id, row.seq) for row, doc in known if stored.get(row.key) != as_doubles(doc)]
