"""The double's answers: one function for each part of ArangoDB's HTTP interface that the store uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.doubles import arango_queries
from tests.doubles.arango_state import ArangoFail, Collection, Cursor, Database, Json, Ticks, not_found, rev_conflict

_OK: Json = {"error": False, "code": 200}


@dataclass(frozen=True)
class Call:
    """One request, taken apart."""

    method: str
    database: str
    path: str
    params: Mapping[str, str]
    raw: bytes
    body: object
    headers: Mapping[str, str]

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")

    def flag(self, name: str, default: bool = False) -> bool:
        """A query parameter that is a truth value."""
        return self.params[name].lower() in ("true", "1") if name in self.params else default

    def object(self) -> Json:
        """The body, which must be an object."""
        if not isinstance(self.body, dict):
            raise ArangoFail(400, 400, "expecting JSON object body")
        return self.body


@dataclass
class Answer:
    """One answer; no body is an empty one."""

    status: int
    body: object = None
    etag: str = ""
    location: str = ""
    error_codes: dict[str, int] = field(default_factory=dict)


def answer_to(databases: dict[str, Database], ticks: Ticks, call: Call, fault: str | None) -> Answer:
    """The answer to any request; ArangoFail where it is an error."""
    if isinstance(call.body, ArangoFail):
        raise call.body
    parts = call.path.strip("/").split("/")
    if parts[:2] == ["_api", "database"]:
        return _database(databases, ticks, call, parts[2:])
    database = databases.get(call.database)
    if database is None:
        raise ArangoFail(404, 1228, "database not found")
    match parts[:2]:
        case ["_api", "version"]:
            return Answer(200, _version())
        case ["_api", "collection"]:
            return _collection(database, call, parts[2:])
        case ["_api", "index"]:
            return _index(database, call)
        case ["_api", "document"]:
            return _document(database, call, parts[2:], fault)
        case ["_api", "cursor"]:
            return _cursor(database, call, parts[2:])
    raise ArangoFail(404, 404, f"unknown path '{call.path}'")


def _version() -> Json:
    apis: Json = {"apiVersions": ["v0"], "deprecatedApiVersions": [], "requestedApiVersion": "v0"}
    return {"server": "arango", "license": "community", "version": "3.12.0", **apis}


def _database(databases: dict[str, Database], ticks: Ticks, call: Call, rest: list[str]) -> Answer:
    match call.method, rest:
        case "GET", ["current"]:
            current: Json = {"id": "1", "name": call.database, "isSystem": call.database == "_system", "path": "none"}
            return Answer(200, {**_OK, "result": current})
        case "GET", [] | ["user"]:
            return Answer(200, {**_OK, "result": list(databases)})
        case "POST", []:
            name = str(call.object()["name"])
            if name in databases:
                raise ArangoFail(409, 1207, "duplicate database name")
            databases[name] = Database(name, ticks)
            return Answer(201, {"error": False, "code": 201, "result": True})
    raise ArangoFail(405, 405, "method not supported")


def _collection(database: Database, call: Call, rest: list[str]) -> Answer:
    match call.method, rest:
        case "GET", []:
            return Answer(200, {**_OK, "result": [each.brief() for each in database.collections.values()]})
        case "POST", []:
            wanted = call.object()
            kind = 3 if wanted.get("type") == 3 else 2
            made = database.create(str(wanted["name"]), kind, wait_for_sync=wanted.get("waitForSync") is True)
            return Answer(200, {**_OK, **made.properties()})
        case "GET", [name, "count"]:
            collection = database.collection(name)
            return Answer(
                200,
                {**_OK, **collection.properties(), "count": len(collection.docs)},
                location=f"/_db/{database.name}{call.path}",
            )
    raise ArangoFail(404, 404, f"unknown path '{call.path}'")


def _index(database: Database, call: Call) -> Answer:
    collection = database.collection(call.params.get("collection", ""))
    if call.method == "GET":
        indexes = collection.indexes
        return Answer(200, {**_OK, "indexes": indexes, "identifiers": {str(each["id"]): each for each in indexes}})
    index, new = collection.add_index(call.object())
    status = 201 if new else 200
    return Answer(status, {**index, "isNewlyCreated": new, "code": status, "error": False})


def _document(database: Database, call: Call, rest: list[str], fault: str | None) -> Answer:
    match call.method, rest:
        case "POST", [name]:
            collection = database.collection(name)
            if isinstance(call.body, list):
                return _insert_many(collection, call, call.body, fault)
            return _written(database, collection, call, *collection.insert(call.body, _overwrite_mode(call)))
        case "PUT", [name] if call.flag("onlyget"):
            assert isinstance(call.body, list)
            keys = [str(each["_key"]) if isinstance(each, dict) else str(each) for each in call.body]
            return Answer(200, [database.collection(name).get(key) for key in keys])
        case "GET" | "HEAD", [name, key]:
            doc = database.collection(name).get(key)
            rev = str(doc["_rev"])
            if _bare(call.headers.get("if-none-match")) == rev:
                return Answer(304, etag=rev)
            return Answer(200, doc, etag=rev)
        case "PUT" | "PATCH", [name, key]:
            return _change(database, database.collection(name), key, call, fault)
    raise ArangoFail(405, 405, "method not supported")


def _insert_many(collection: Collection, call: Call, bodies: list[object], fault: str | None) -> Answer:
    results: list[object] = []
    codes: dict[str, int] = {}
    for number, body in enumerate(bodies):
        try:
            if fault == "conflict" and number % 2 == 0:
                raise ArangoFail(409, 1200, "write-write conflict")
            doc, old = collection.insert(body, _overwrite_mode(call))
            results.append(_result(call, doc, old))
        except ArangoFail as fail:
            results.append({"error": True, "errorNum": fail.number, "errorMessage": fail.message})
            codes[str(fail.number)] = codes.get(str(fail.number), 0) + 1
    return Answer(_write_status(collection, call), results, error_codes=codes)


def _change(database: Database, collection: Collection, key: str, call: Call, fault: str | None) -> Answer:
    body = call.object()
    if key not in collection.docs:
        raise not_found()
    if fault == "revision":
        current, _ = collection.change(key, {}, merge=True, rev=None)
        raise rev_conflict(current)
    rev = _bare(call.headers.get("if-match"))
    if rev is None and not call.flag("ignoreRevs", True) and "_rev" in body:
        rev = str(body["_rev"])
    keep_null = call.flag("keepNull", True)
    doc, old = collection.change(key, body, merge=call.method == "PATCH", rev=rev, keep_null=keep_null)
    return _written(database, collection, call, doc, old)


def _written(database: Database, collection: Collection, call: Call, doc: Json, old: Json | None) -> Answer:
    location = f"/_db/{database.name}/_api/document/{doc['_id']}"
    status = _write_status(collection, call)
    return Answer(status, _result(call, doc, old), etag=str(doc["_rev"]), location=location)


def _write_status(collection: Collection, call: Call) -> int:
    return 201 if collection.wait_for_sync or call.flag("waitForSync") else 202


def _result(call: Call, doc: Json, old: Json | None) -> Json:
    result: Json = {name: doc[name] for name in ("_id", "_key", "_rev")}
    if old is not None:
        result["_oldRev"] = old["_rev"]
    if call.flag("returnNew"):
        result["new"] = doc
    return result


def _overwrite_mode(call: Call) -> str:
    return call.params.get("overwriteMode", "replace" if call.flag("overwrite") else "conflict")


def _bare(tag: str | None) -> str | None:
    return None if tag is None else tag.strip('"')


def _cursor(database: Database, call: Call, rest: list[str]) -> Answer:
    match call.method, rest:
        case "POST", []:
            return _query(database, call)
        case "PUT", []:
            raise ArangoFail(400, 400, "expecting POST /_api/cursor/")
        case "POST" | "PUT", [identifier, *batch]:
            return _next(database, identifier, int(batch[0]) if batch else None)
        case "DELETE", [identifier]:
            if database.cursors.pop(identifier, None) is None:
                raise ArangoFail(404, 1600, "cursor not found")
            return Answer(202, {"id": identifier, "error": False, "code": 202})
    raise ArangoFail(405, 405, "method not supported")


def _query(database: Database, call: Call) -> Answer:
    wanted = call.body if isinstance(call.body, dict) else {}
    rows = arango_queries.run(database, str(wanted.get("query", "")), wanted.get("bindVars") or {})
    size = wanted.get("batchSize", 1000)
    cursor = Cursor(database.ticks.id(), rows, size, counted=wanted.get("count") is True)
    if len(rows) > size:
        database.cursors[cursor.id] = cursor
    cursor.given = min(size, len(rows))
    return Answer(201, _batch(cursor, 0, 201))


def _next(database: Database, identifier: str, wanted: int | None) -> Answer:
    cursor = database.cursors.get(identifier)
    if cursor is None:
        raise ArangoFail(404, 1600, "cursor not found")
    if wanted is None or wanted == cursor.batch + 1:
        start, cursor.batch = cursor.given, cursor.batch + 1
        cursor.given = min(cursor.given + cursor.batch_size, len(cursor.rows))
    elif wanted == cursor.batch:
        start = (cursor.batch - 1) * cursor.batch_size
    else:
        raise ArangoFail(404, 1600, "cursor not found")
    return Answer(200, _batch(cursor, start, 200))


def _batch(cursor: Cursor, start: int, code: int) -> Json:
    more = cursor.given < len(cursor.rows)
    counters = (
        "writesExecuted writesIgnored documentLookups seeks scannedFull scannedIndex searchParallelism cursorsCreated"
        " cursorsRearmed cacheHits cacheMisses filtered httpRequests executionTime peakMemoryUsage intermediateCommits"
    )
    body: Json = {
        "result": list(cursor.rows[start : cursor.given]),
        "hasMore": more,
        "cached": False,
        "extra": {"warnings": [], "stats": dict.fromkeys(counters.split(), 0)},
        "error": False,
        "code": code,
    }
    if more:
        body |= {"id": cursor.id, "nextBatchId": str(cursor.batch + 1)}
    if cursor.counted:
        body["count"] = len(cursor.rows)
    return body
