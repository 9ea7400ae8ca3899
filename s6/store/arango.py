"""The history in ArangoDB, through python-arango."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from arango.collection import StandardCollection
from arango.database import StandardDatabase
from arango.exceptions import ArangoServerError, CollectionCreateError, DatabaseCreateError

from s6.store import aql
from s6.store.arango_connection import (
    CONFLICT,
    DATABASE_MISSING,
    DUPLICATE_NAME,
    UNIQUE_VIOLATED,
    Address,
    Clients,
    rows,
    values,
)
from s6.store.arango_documents import key_of, without_own
from s6.store.arango_snapshots import write_chunk
from s6.store.documents import (
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
    StoreUnavailable,
)

INDEXES: Mapping[str, Sequence[tuple[tuple[str, ...], bool]]] = {
    SNAPSHOTS: [
        (("position_id", "seq"), True),
        (("symbol",), False),
        (("ts",), False),
        (("symbol", "ts"), False),
        (("status", "ts"), False),
    ],
    TRANSFERS: [(("transfer_id",), True), (("ts",), False)],
    ALERTS: [(("alert_id",), True), (("ts",), False), (("severity", "ts"), False)],
}
"""The persistent indexes of each collection: their fields, and whether they are unique."""

_END = 9_007_199_254_740_991
"""The greatest integer that ArangoDB and JSON agree on; it is later than any time."""

_CHUNK = 500
_REVISION_TRIES = 5
_DAY_S = 86_400


class ArangoStore:
    """Implements the Store port on one ArangoDB database.

    Numbers are VelocyPack's: 64-bit integers and IEEE doubles, which keep about 15 digits. Exact values therefore
    belong in string members. ArangoDB syncs a write to the disk before it answers.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        days = clients.address.retention_days
        self._retention_s = None if days is None else days * _DAY_S

    @classmethod
    def from_url(cls, url: str) -> ArangoStore:
        """Create the store of ``arango+http(s)://user:password@host:8529/database[?retention_days=N]``."""
        return cls(Clients(Address.from_url(url)))

    def init(self) -> None:
        with self._clients.use() as db:
            try:
                self._create(db)
            except CollectionCreateError as error:
                if error.error_code != DATABASE_MISSING:
                    raise
                self._create_database()
                self._create(db)

    def ping(self) -> None:
        with self._clients.use() as db:
            db.version()

    def write_snapshots(self, docs: Sequence[Mapping[str, object]]) -> None:
        ids = [snapshot_id(doc) for doc in docs]
        for doc in docs:
            encode(doc)
        conflicts = []
        for start in range(0, len(docs), _CHUNK):
            with self._clients.use() as db:
                part = slice(start, start + _CHUNK)
                conflicts += write_chunk(db, docs[part], ids[part], self._retention_s)
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
        narrowed: dict[str, object] = {"position_id": position_id, "symbol": symbol}
        narrowed = {name: value for name, value in narrowed.items() if value is not None}
        return self._page(aql.Listing(SNAPSHOTS, tuple(narrowed), newest_first), narrowed, limit, cursor)

    def latest(self) -> Iterator[Document]:
        after = ""
        while True:
            found = self._query(aql.LATEST, after=after, limit=_CHUNK)
            for doc in found:
                yield without_own(doc)
            if len(found) < _CHUNK:
                return
            after = text_of(found[-1], "position_id")

    def closed(self, *, symbol: str | None = None, limit: int = 100, cursor: str | None = None) -> Page:
        narrowed: dict[str, object] = {} if symbol is None else {"symbol": symbol}
        return self._page(aql.Listing(SNAPSHOTS, (*narrowed, "closed"), True), narrowed, limit, cursor)

    def write_alerts(self, docs: Sequence[Mapping[str, object]]) -> None:
        keyed: dict[str, Document] = {}
        for doc in docs:
            key = key_of(text_of(doc, "alert_id"))
            integer_of(doc, "ts"), text_of(doc, "severity"), encode(doc)
            known = keyed.get(key)
            if known is None or known.get("ack") is None or doc.get("ack") is not None:
                keyed[key] = {**doc, "_key": key}
        if keyed:
            self._query(aql.UPSERT_ALERTS, docs=list(keyed.values()))

    def alerts(
        self, *, limit: int = 100, cursor: str | None = None, severity: str | None = None, standing: bool | None = None
    ) -> Page:
        bound: dict[str, object] = {} if severity is None else {"severity": severity}
        filters = tuple(bound)
        if standing is not None:
            filters += ("standing" if standing else "not_standing",)
        return self._page(aql.Listing(ALERTS, filters, True), bound, limit, cursor)

    def insert_transfer(self, doc: Mapping[str, object]) -> bool:
        key = key_of(text_of(doc, "transfer_id"))
        integer_of(doc, "ts"), text_of(doc, "status"), encode(doc)
        with self._clients.use() as db:
            try:
                db.collection(TRANSFERS).insert({**doc, "_key": key}, sync=True)
            except ArangoServerError as error:
                if error.error_code == UNIQUE_VIOLATED:
                    return False
                raise
        return True

    def transfer(self, transfer_id: str) -> Document | None:
        with self._clients.use() as db:
            found = _get(db.collection(TRANSFERS), transfer_id)
        return None if found is None else without_key(without_own(found))

    def update_transfer(
        self, transfer_id: str, *, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None:
        if changes.get("transfer_id", transfer_id) != transfer_id:
            raise StoreRefused("transfer_id cannot be changed")
        with self._clients.use() as db:
            transfers = db.collection(TRANSFERS)
            for _ in range(_REVISION_TRIES):
                found = _get(transfers, transfer_id)
                if found is None or found["status"] not in statuses(expect):
                    return None
                changed = {**found, **changes}
                integer_of(changed, "ts"), text_of(changed, "status"), encode(changed)
                try:
                    # check_rev makes it compare-and-set: ArangoDB answers 1200 if another writer was faster.
                    transfers.replace(changed, check_rev=True, sync=True)
                except ArangoServerError as error:
                    if error.error_code != CONFLICT:
                        raise
                    continue
                return without_key(without_own(changed))
        raise StoreUnavailable(f"transfer {transfer_id}: changed by others {_REVISION_TRIES} times in a row")

    def transfers(
        self, *, limit: int = 100, cursor: str | None = None, status: str | Collection[str] | None = None
    ) -> Page:
        bound: dict[str, object] = {} if status is None else {"status": list(statuses(status))}
        return self._page(aql.Listing(TRANSFERS, tuple(bound), True), bound, limit, cursor)

    def prune(self, *, before_ts: int) -> dict[str, int]:
        final = sorted(FINAL_TRANSFER_STATUSES)
        return {
            SNAPSHOTS: self._prune_snapshots(before_ts),
            TRANSFERS: self._prune(aql.PRUNE_TRANSFERS, before=before_ts, final=final),
            ALERTS: self._prune(aql.PRUNE_ALERTS, before=before_ts),
        }

    def close(self) -> None:
        self._clients.close()

    def _create_database(self) -> None:
        with self._clients.use("_system") as system:
            try:
                system.create_database(self._clients.address.database)
            except DatabaseCreateError as error:
                if error.error_code != DUPLICATE_NAME:
                    raise

    def _create(self, db: StandardDatabase) -> None:
        for name, indexes in INDEXES.items():
            try:
                db.create_collection(name)
            except CollectionCreateError as error:
                if error.error_code != DUPLICATE_NAME:
                    raise
            for fields, unique in indexes:
                index = {"type": "persistent", "fields": list(fields), "unique": unique, "inBackground": True}
                db.collection(name).add_index(index)
        turns = {"type": "persistent", "fields": ["turn"], "unique": True, "sparse": True, "inBackground": True}
        db.collection(TRANSFERS).add_index(turns)
        if self._retention_s is not None:
            db.collection(SNAPSHOTS).add_index({"type": "ttl", "fields": ["expires_at"], "expireAfter": 0})

    def _page(self, listing: aql.Listing, bound: Mapping[str, object], limit: int, cursor: str | None) -> Page:
        size = page_size(limit)
        place: dict[str, object]
        start = _END if listing.newest_first else 0
        if listing.by_seq:
            place = {"seq": read_number_cursor(cursor) if cursor else start}
        else:
            ts, key = read_cursor(cursor) if cursor else (start, "")
            place = {"ts": ts, "key": key}
        found = self._query(listing.text(), **bound, **place, limit=size + 1)
        next_cursor = None
        if len(found) > size:
            last = found[size - 1]
            next_cursor = str(last["seq"]) if listing.by_seq else make_cursor(last["ts"], last["_key"])
        items = [without_own(doc) for doc in found[:size]]
        return Page(items if listing.collection == SNAPSHOTS else [without_key(doc) for doc in items], next_cursor)

    def _query(self, text: str, **bound: object) -> list[Document]:
        with self._clients.use() as db:
            return rows(db, text, **bound)

    def _prune_snapshots(self, before_ts: int) -> int:
        deleted, reached = 0, 0
        while True:
            with self._clients.use() as db:
                times = values(db, aql.PRUNE_SNAPSHOTS, reached=reached, before=before_ts, limit=_CHUNK)
            deleted += len(times)
            if len(times) < _CHUNK:
                return deleted
            reached = max(reached, *(ts for ts in times if isinstance(ts, int)))

    def _prune(self, text: str, **bound: object) -> int:
        deleted = 0
        while True:
            with self._clients.use() as db:
                removed = len(values(db, text, **bound, limit=_CHUNK))
            deleted += removed
            if removed < _CHUNK:
                return deleted


def _get(transfers: StandardCollection, transfer_id: str) -> Document | None:
    found = transfers.get(key_of(transfer_id))
    return found if isinstance(found, dict) else None
