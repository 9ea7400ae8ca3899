"""The AQL that the double knows: the texts the store sends, each with its meaning in Python, and the little that the
recorded exchanges need. It is no AQL engine: any other text is answered as a parse error, 1501."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from s6.store import aql
from s6.store.port import ALERTS, SNAPSHOTS, TRANSFERS
from tests.doubles.arango_state import ArangoFail, Database, Json

Bound = Mapping[str, object]
Query = Callable[[Database, Bound], list[object]]


def run(database: Database, text: str, bound: Bound) -> list[object]:
    """What the query returns."""
    if not text.strip():
        raise ArangoFail(400, 1502, "query is empty")
    known = _KNOWN.get(text)
    if known is not None:
        wanted = set(re.findall(r"@([a-z_]+)", text))
        if wanted - set(bound):
            missing = ", ".join(sorted(wanted - set(bound)))
            raise ArangoFail(400, 1551, f"no value specified for declared bind parameter '{missing}'")
        if set(bound) - wanted:
            surplus = ", ".join(sorted(set(bound) - wanted))
            raise ArangoFail(400, 1552, f"bind parameter '{surplus}' was not declared in the query")
        return known(database, bound)
    for pattern, query in _SIMPLE:
        if match := pattern.fullmatch(text):
            return query(database, match.groupdict())
    raise ArangoFail(400, 1501, f"AQL: syntax error, unexpected query: {text[:60]} (while parsing)")


def _listing(listing: aql.Listing, database: Database, bound: Bound) -> list[object]:
    docs = [doc for doc in database.collection(listing.collection).docs.values() if _passes(listing, doc, bound)]
    if "closed" in listing.filters:
        latest = _latest_of(database)
        docs = [doc for doc in docs if latest[str(doc["position_id"])] is doc and doc["status"] == "CLOSED"]
    newest = listing.newest_first
    if listing.by_seq:
        docs = [doc for doc in docs if _beyond((doc["seq"],), (bound["seq"],), newest)]
        docs.sort(key=lambda doc: _number(doc["seq"]), reverse=newest)
    else:
        place = (bound["ts"], bound["key"])
        docs = [doc for doc in docs if _beyond((doc["ts"], doc["_key"]), place, newest)]
        docs.sort(key=lambda doc: (_number(doc["ts"]), str(doc["_key"])), reverse=newest)
    return list(docs[: _integer(bound["limit"])])


def _passes(listing: aql.Listing, doc: Json, bound: Bound) -> bool:
    standing = doc.get("severity") == "FATAL" and doc.get("ack") is None
    for name in listing.filters:
        if name == "closed":
            passes = True
        elif name == "standing" or name == "not_standing":
            passes = standing is (name == "standing")
        elif name == "status":
            passes = doc.get(name) in _items(bound[name])
        else:
            passes = doc.get(name) == bound[name]
        if not passes:
            return False
    return True


def _beyond(place: tuple[object, ...], start: tuple[object, ...], newest_first: bool) -> bool:
    ours, theirs = _comparable(place), _comparable(start)
    return ours < theirs if newest_first else ours > theirs


def _comparable(place: tuple[object, ...]) -> tuple[float, str]:
    return _number(place[0]), str(place[1]) if len(place) > 1 else ""


def _by_keys(database: Database, bound: Bound) -> list[object]:
    docs = database.collection(SNAPSHOTS).docs
    return list[object](docs[key] for key in dict.fromkeys(_items(bound["keys"])) if key in docs)


def _latest_of(database: Database) -> dict[str, Json]:
    latest: dict[str, Json] = {}
    for doc in database.collection(SNAPSHOTS).docs.values():
        known = latest.get(str(doc["position_id"]))
        if known is None or _number(doc["seq"]) > _number(known["seq"]):
            latest[str(doc["position_id"])] = doc
    return latest


def _latest(database: Database, bound: Bound) -> list[object]:
    latest = _latest_of(database)
    ids = sorted(position_id for position_id in latest if position_id > str(bound["after"]))
    return list[object](latest[position_id] for position_id in ids[: _integer(bound["limit"])])


def _expire_predecessors(database: Database, bound: Bound) -> list[object]:
    snapshots = database.collection(SNAPSHOTS)
    for mark in _objects(bound["marks"]):
        place = (mark["position_id"], _number(mark["seq"]) - 1)
        for doc in [doc for doc in snapshots.docs.values() if (doc["position_id"], doc["seq"]) == place]:
            expires = _integer(doc["ts"]) // 1000 + _integer(bound["retention_s"])
            snapshots.change(str(doc["_key"]), {"expires_at": expires}, merge=True, rev=None)
    return []


def _upsert_alerts(database: Database, bound: Bound) -> list[object]:
    alerts = database.collection(ALERTS)
    for doc in _objects(bound["docs"]):
        old = alerts.docs.get(str(doc["_key"]))
        if old is None or old.get("ack") is None or doc.get("ack") is not None:
            alerts.insert(doc, "replace")
    return []


def _prune_snapshots(database: Database, bound: Bound) -> list[object]:
    latest = {str(doc["_key"]) for doc in _latest_of(database).values()}
    old = [
        doc
        for doc in database.collection(SNAPSHOTS).docs.values()
        if _number(bound["reached"]) <= _number(doc["ts"]) < _number(bound["before"])
        and not (doc["status"] == "OPEN" and doc["_key"] in latest)
    ]
    old.sort(key=lambda doc: _number(doc["ts"]))
    return _remove(database, SNAPSHOTS, old[: _integer(bound["limit"])])


def _prune_transfers(database: Database, bound: Bound) -> list[object]:
    final = _items(bound["final"])
    docs = database.collection(TRANSFERS).docs.values()
    old = [doc for doc in docs if _number(doc["ts"]) < _number(bound["before"]) and doc["status"] in final]
    return _remove(database, TRANSFERS, old[: _integer(bound["limit"])])


def _prune_alerts(database: Database, bound: Bound) -> list[object]:
    old = [
        doc
        for doc in database.collection(ALERTS).docs.values()
        if _number(doc["ts"]) < _number(bound["before"]) and not (doc["severity"] == "FATAL" and doc.get("ack") is None)
    ]
    return _remove(database, ALERTS, old[: _integer(bound["limit"])])


def _remove(database: Database, collection: str, docs: Iterable[Json]) -> list[object]:
    return [database.collection(collection).remove(str(doc["_key"]))["ts"] for doc in docs]


def _some(database: Database, named: Bound) -> list[object]:
    docs: list[object] = [*database.collection(str(named["collection"])).docs.values()]
    return docs[: int(str(named["limit"]))]


def _range(database: Database, named: Bound) -> list[object]:
    return list(range(int(str(named["first"])), int(str(named["last"])) + 1))


def _remove_all(database: Database, named: Bound) -> list[object]:
    collection = database.collection(str(named["collection"]))
    for key in list(collection.docs):
        collection.remove(key)
    return []


def _remove_one(database: Database, named: Bound) -> list[object]:
    collection = database.collection(str(named["collection"]))
    if named["key"] in collection.docs:
        collection.remove(str(named["key"]))
    elif not named["ignore"]:
        raise ArangoFail(404, 1202, "AQL: document not found [node #3: RemoveNode] (while executing)")
    return []


_KNOWN: Mapping[str, Query] = {
    **{listing.text(): partial(_listing, listing) for listing in aql.listings()},
    aql.BY_KEYS: _by_keys,
    aql.LATEST: _latest,
    aql.EXPIRE_PREDECESSORS: _expire_predecessors,
    aql.UPSERT_ALERTS: _upsert_alerts,
    aql.PRUNE_SNAPSHOTS: _prune_snapshots,
    aql.PRUNE_TRANSFERS: _prune_transfers,
    aql.PRUNE_ALERTS: _prune_alerts,
}

_SIMPLE: list[tuple[re.Pattern[str], Query]] = [
    (re.compile(r"FOR (\w+) IN (?P<collection>[a-z]\w*) LIMIT (?P<limit>\d+) RETURN \1"), _some),
    (re.compile(r"FOR (\w+) IN (?P<first>\d+)\.\.(?P<last>\d+) RETURN \1"), _range),
    (re.compile(r"FOR (\w+) IN (?P<collection>[a-z]\w*) REMOVE \1 IN (?P=collection)"), _remove_all),
    (
        re.compile(r"REMOVE '(?P<key>\w+)' IN (?P<collection>\w+)(?P<ignore> OPTIONS \{ ignoreErrors: true \})?"),
        _remove_one,
    ),
]


def _number(value: object) -> float:
    assert isinstance(value, (int, float)), value
    return value


def _integer(value: object) -> int:
    assert isinstance(value, int), value
    return value


def _items(value: object) -> list[str]:
    assert isinstance(value, list), value
    return value


def _objects(value: object) -> list[Json]:
    assert isinstance(value, list), value
    return value
