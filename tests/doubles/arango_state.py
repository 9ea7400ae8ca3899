"""What the ArangoDB double holds: databases, collections, documents, indexes, cursors; all in memory."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Json = dict[str, object]

_KEY = re.compile(r"[A-Za-z0-9_\-:.@()+,=;$!*'%]{1,254}", re.ASCII)
_SYSTEM = ("_id", "_key", "_rev")


class ArangoFail(Exception):
    """An error as the server answers it."""

    def __init__(self, status: int, number: int, message: str, **members: object) -> None:
        super().__init__(message)
        self.status = status
        self.number = number
        self.message = message
        self.members = members

    def body(self) -> Json:
        """The answer's body."""
        return {
            "code": self.status,
            "error": True,
            "errorMessage": self.message,
            "errorNum": self.number,
            **self.members,
        }


def not_found() -> ArangoFail:
    return ArangoFail(404, 1202, "document not found")


def rev_conflict(doc: Mapping[str, object]) -> ArangoFail:
    named = {name: doc[name] for name in _SYSTEM}
    return ArangoFail(412, 1200, "conflict, _rev values do not match", **named)


@dataclass
class Ticks:
    """The server's numbers: ids of things, and revisions of documents."""

    counter: Iterator[int] = field(default_factory=lambda: itertools.count(70_000))

    def id(self) -> str:
        return str(next(self.counter))

    def rev(self) -> str:
        return f"_l{next(self.counter):06d}---"


@dataclass
class Collection:
    """A collection's documents by key, and its indexes."""

    name: str
    ticks: Ticks
    type: int = 2
    is_system: bool = False
    wait_for_sync: bool = False
    docs: dict[str, Json] = field(default_factory=dict)
    indexes: list[Json] = field(default_factory=list)
    id: str = ""
    unique: dict[str, dict[tuple[object, ...], str]] = field(default_factory=dict)
    """Per unique index (its id): values of the fields, to the key of the document that has them."""

    def __post_init__(self) -> None:
        self.id = self.id or self.ticks.id()
        primary: Json = {
            "fields": ["_key"],
            "id": f"{self.name}/0",
            "name": "primary",
            "selectivityEstimate": 1,
            "sparse": False,
            "type": "primary",
            "unique": True,
        }
        self.indexes.append(primary)

    def brief(self) -> Json:
        """As a list of collections shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "status": 3,
            "type": self.type,
            "isSystem": self.is_system,
            "globallyUniqueId": self.name if self.is_system else f"hDOUBLE/{self.id}",
        }

    def properties(self) -> Json:
        """As its creation answers it."""
        return {
            **self.brief(),
            "writeConcern": 1,
            "waitForSync": self.wait_for_sync,
            "usesRevisionsAsDocumentIds": True,
            "syncByRevision": True,
            "supportsRBAC": True,
            "statusString": "loaded",
            "isSmartChild": False,
            "schema": None,
            "cacheEnabled": False,
            "internalValidatorType": 0,
            "keyOptions": {"allowUserKeys": True, "type": "traditional", "lastValue": 0},
            "computedValues": None,
            "objectId": str(int(self.id) + 1),
        }

    def get(self, key: str) -> Json:
        if key not in self.docs:
            raise not_found()
        return self.docs[key]

    def insert(self, body: object, mode: str = "conflict") -> tuple[Json, Json | None]:
        """The document as stored, and the one it took the place of. ``mode`` is the server's overwriteMode."""
        if not isinstance(body, dict):
            raise ArangoFail(400, 1227, "invalid document type")
        key = body.get("_key", self.ticks.id())
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ArangoFail(400, 1221, "illegal document key")
        old = self.docs.get(key)
        if old is None:
            return self._put(key, body), None
        if mode == "ignore":
            return old, None
        if mode == "replace":
            return self._put(key, body), old
        raise ArangoFail(
            409,
            1210,
            f"unique constraint violated - in index primary of type primary over '_key'; conflicting key: {key}",
        )

    def change(
        self, key: str, body: Json, *, merge: bool, rev: str | None, keep_null: bool = True
    ) -> tuple[Json, Json]:
        """The document as stored now, and as it was. With a ``rev``: only if that is the one there."""
        old = self.get(key)
        if rev is not None and rev != old["_rev"]:
            raise rev_conflict(old)
        return self._put(key, patched(old, body, keep_null) if merge else body), old

    def remove(self, key: str) -> Json:
        old = self.get(key)
        self._forget(old)
        del self.docs[key]
        return old

    def _put(self, key: str, body: Mapping[str, object]) -> Json:
        members = {name: value for name, value in body.items() if name not in _SYSTEM}
        doc: Json = {"_key": key, "_id": f"{self.name}/{key}", "_rev": self.ticks.rev(), **members}
        taken = {str(index["id"]): values_of(doc, index) for index in self.indexes if index["unique"]}
        for index_id, values in taken.items():
            holder = self.unique.get(index_id, {}).get(values)
            if holder is not None and holder != key:
                index = next(index for index in self.indexes if index["id"] == index_id)
                raise unique_violated(index, holder)
        if key in self.docs:
            self._forget(self.docs[key])
        for index_id, values in taken.items():
            self.unique.setdefault(index_id, {})[values] = key
        self.docs[key] = doc
        return doc

    def _forget(self, doc: Json) -> None:
        for index in self.indexes:
            if index["unique"]:
                self.unique.get(str(index["id"]), {}).pop(values_of(doc, index), None)

    def add_index(self, wanted: Json) -> tuple[Json, bool]:
        """The index, and whether it is new: one of the same type, fields and uniqueness is taken as it is."""
        if wanted.get("type") not in ("persistent", "ttl"):
            raise ArangoFail(400, 10, "invalid index type")
        same = ("type", "fields", "unique", "sparse")
        made = self._describe(wanted)
        for index in self.indexes:
            if all(index.get(name) == made[name] for name in same):
                return index, False
        if made["unique"]:
            held: dict[tuple[object, ...], str] = {}
            for key, doc in self.docs.items():
                if (holder := held.setdefault(values_of(doc, made), key)) != key:
                    raise unique_violated(made, holder)
            self.unique[str(made["id"])] = held
        self.indexes.append(made)
        return made, True

    def _describe(self, wanted: Json) -> Json:
        number = self.ticks.id()
        common: Json = {
            "fields": wanted["fields"],
            "id": f"{self.name}/{number}",
            "name": wanted.get("name", f"idx_{number}"),
            "type": wanted["type"],
            "unique": wanted.get("unique", False),
        }
        if wanted["type"] == "ttl":
            return {**common, "estimates": False, "expireAfter": wanted["expireAfter"], "sparse": True}
        more: Json = {"cacheEnabled": False, "deduplicate": True, "estimates": True, "selectivityEstimate": 1}
        return {**common, **more, "sparse": wanted.get("sparse", False)}


def patched(old: Mapping[str, object], changes: Mapping[str, object], keep_null: bool) -> Json:
    """A document with changes merged in, objects member by member; without ``keep_null`` a null takes away."""
    result = dict(old)
    for name, value in changes.items():
        known = result.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            result[name] = patched(known, value, keep_null)
        elif value is None and not keep_null:
            result.pop(name, None)
        else:
            result[name] = value
    return result


def values_of(doc: Mapping[str, object], index: Mapping[str, object]) -> tuple[object, ...]:
    """What the document has in the index's fields; a sparse index leaves out a document that lacks one."""
    fields = index["fields"]
    assert isinstance(fields, list)
    if index.get("sparse") and any(doc.get(name) is None for name in fields):
        return ("left out", doc["_key"])
    return tuple(str(doc.get(name)) if isinstance(doc.get(name), (list, dict)) else doc.get(name) for name in fields)


def unique_violated(index: Mapping[str, object], holder: str) -> ArangoFail:
    fields = index["fields"]
    assert isinstance(fields, list)
    where = f"in index {index['name']} of type {index['type']} over '{', '.join(map(str, fields))}'"
    return ArangoFail(409, 1210, f"unique constraint violated - {where}; conflicting key: {holder}")


@dataclass
class Cursor:
    """A query's result of which a part has been given out."""

    id: str
    rows: Sequence[object]
    batch_size: int
    counted: bool
    given: int = 0
    batch: int = 1


@dataclass
class Database:
    """Collections and cursors of one database."""

    name: str
    ticks: Ticks
    collections: dict[str, Collection] = field(default_factory=dict)
    cursors: dict[str, Cursor] = field(default_factory=dict)

    def collection(self, name: str) -> Collection:
        if name not in self.collections:
            raise ArangoFail(404, 1203, f"collection or view not found: {name}")
        return self.collections[name]

    def create(self, name: str, type_: int = 2, *, wait_for_sync: bool = False) -> Collection:
        if name in self.collections:
            raise ArangoFail(409, 1207, "duplicate name")
        made = Collection(name, self.ticks, type_, wait_for_sync=wait_for_sync)
        self.collections[name] = made
        return made
