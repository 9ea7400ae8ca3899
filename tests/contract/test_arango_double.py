"""The ArangoDB double against recordings of a real server: the same requests must get the same kind of answers.

The recordings stand beside the project (``../shared/data/arangodb``, or under S6_SHARED_DATA) and are no part of it;
without them these tests are skipped. What the double leaves out is listed in NOT_COVERED, with the reason.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from s6.store import arango_connection
from tests.doubles import arango_answers, arango_queries, arango_state
from tests.doubles.arango import ArangoDouble

DATA = Path(os.environ.get("S6_SHARED_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data") / "arangodb"

NOT_COVERED = {
    "RestImport": "the import interface is not used",
    "RestTransaction": "stream and JavaScript transactions are not used",
    "RestCursorCreateCursorOption": "its query is none of the store's",
    "RestVersionDetails": "the details of the version are not asked for",
}

VARYING = {"content-length", "etag"}
"""Headers whose values are each answer's own."""

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded exchanges in {DATA.parent.name}/arangodb")


class Exchange(NamedTuple):
    """A request and its answer, as recorded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str
    status: int
    answer_headers: Mapping[str, str]
    answer: Any
    """JSON of any shape, None for none."""


def _exchange(recorded: dict[str, Any]) -> Exchange:
    request, response = recorded["request"], recorded["response"]
    return Exchange(
        method=request["method"],
        path=request["path"],
        headers=request["headers"],
        body=request["body_raw"] or "",
        status=response["status"],
        answer_headers=response["headers"],
        answer=response["body_json"],
    )


def _recordings() -> dict[str, list[Exchange]]:
    if not DATA.is_dir():
        return {}
    scenarios = json.loads((DATA / "exchanges-3.12.json").read_text())
    return {each["name"].removesuffix("_single"): [_exchange(one) for one in each["exchanges"]] for each in scenarios}


RECORDINGS = _recordings()
COVERED = [name for name in RECORDINGS if not name.startswith(tuple(NOT_COVERED))]


@pytest.fixture
def double() -> Iterator[ArangoDouble]:
    with ArangoDouble(check_auth=False) as double:
        yield double


@pytest.mark.parametrize("name", COVERED)
def test_the_double_answers_as_the_server_did(double: ArangoDouble, name: str) -> None:
    exchanges = RECORDINGS[name]
    prepare(double, exchanges)
    ids: dict[str, str] = {}
    for exchange in exchanges:
        path = re.sub(r"\d{5,}", lambda match: ids.get(match[0], match[0]), exchange.path)
        response, text = ask(double, exchange, path)
        where = f"{exchange.method} {exchange.path}"
        assert response.status == exchange.status, f"{where}: {text!r}"
        compare_headers(exchange.answer_headers, response, where)
        if exchange.answer is None:
            assert text == b"", where
            continue
        answer = json.loads(text)
        assert differences(exchange.answer, answer, where) == []
        if isinstance(answer, dict) and "id" in answer and exchange.answer["id"].isdigit():
            ids[exchange.answer["id"]] = answer["id"]


def test_most_of_the_recordings_are_covered(record_property: Callable[[str, object], None]) -> None:
    left_out = [name for name in RECORDINGS if name not in COVERED]
    record_property("covered", f"{len(COVERED)} of {len(RECORDINGS)} scenarios")
    for prefix, reason in NOT_COVERED.items():
        assert any(name.startswith(prefix) for name in left_out), f"{prefix} ({reason}) is not in the recordings"
    print(f"covered: {len(COVERED)} of {len(RECORDINGS)} recorded scenarios; not covered: {', '.join(left_out)}")
    assert len(COVERED) >= 40


def test_error_numbers_are_the_servers_own() -> None:
    known = {each["code"] for each in json.loads((DATA / "errors-3.12.json").read_text()) if "code" in each}
    ours = {value for name, value in vars(arango_connection).items() if name.isupper() and isinstance(value, int)}
    ours |= arango_connection._PASSING_ERRORS
    for module in (arango_answers, arango_queries, arango_state):
        source = Path(str(module.__file__)).read_text()
        ours |= {int(number) for number in re.findall(r"ArangoFail\(\s*\d{3}, (\d+)", source)}
    assert len(ours) > 12
    assert ours - known == set()


def prepare(double: ArangoDouble, exchanges: list[Exchange]) -> None:
    """Bring the double to where the real server stood before the first request of a scenario."""
    system = double.databases["_system"]
    for exchange in exchanges:
        number = exchange.answer.get("errorNum") if isinstance(exchange.answer, dict) else None
        named = re.search(r"/document/(\w+)|collection=(\w+)|/collection/(\w+)/", exchange.path)
        named = named or re.search(r"\bIN ([a-z]\w*)", exchange.body)
        if named is None or number == 1203:
            continue
        name = next(group for group in named.groups() if group)
        if name not in system.collections:
            asked_to_wait = "waitForSync" in exchange.path
            waits = exchange.status == 201 and exchange.path.startswith("/_api/document/") and not asked_to_wait
            described = isinstance(exchange.answer, dict) and exchange.answer.get("waitForSync") is True
            collection = system.create(name, wait_for_sync=waits or described)
            for doc in documents(exchange, number):
                collection.docs[doc["_key"]] = {"_id": f"{name}/{doc['_key']}", "_rev": "_l1", **doc}
        if exchange.path.startswith("/_api/index") and exchange.method == "GET":
            for field, sparse in (("name", False), ("price", True)):
                system.collection(name).add_index({"type": "persistent", "fields": [field], "sparse": sparse})


def documents(exchange: Exchange, number: int | None) -> list[dict[str, Any]]:
    """The documents that a scenario's first request found."""
    if number == 1202:
        return []
    if exchange.path.startswith("/_api/cursor"):
        return [{"_key": str(key), f"hello{key}": f"world{key}"} for key in range(1, 7)]
    if exchange.path.endswith("onlyget=true"):
        return list(exchange.answer)
    addressed = re.fullmatch(r"/_api/document/\w+/(\w+)", exchange.path)
    if addressed is None:
        return []
    if exchange.method == "GET" and exchange.answer is not None:
        return [exchange.answer]
    rev = exchange.answer_headers["etag"].strip('"') if exchange.status in (200, 304, 412) else "_l1"
    return [{"_key": addressed[1], "_rev": rev, "one": "world"}]


def ask(double: ArangoDouble, exchange: Exchange, path: str) -> tuple[HTTPResponse, bytes]:
    """Send a recorded request to the double."""
    connection = HTTPConnection("127.0.0.1", double.port, timeout=10)
    try:
        connection.request(exchange.method, path, exchange.body.encode() or None, dict(exchange.headers))
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def compare_headers(recorded: Mapping[str, str], response: HTTPResponse, where: str) -> None:
    for name, value in recorded.items():
        got = response.headers.get(name)
        assert got is not None, f"{where}: no header {name}"
        if name not in VARYING and name != "location":
            assert got == value, f"{where}: {name}"
        if name == "etag":
            assert re.fullmatch(r'"[^"]+"', got), where
        if name == "location":
            assert re.sub(r"\d{5,}", "#", got) == re.sub(r"\d{5,}", "#", value), where
    for name in ("etag", "location", "x-arango-error-codes"):
        assert (name in recorded) == (name in response.headers), f"{where}: {name}"


def differences(recorded: Any, got: Any, where: str) -> list[str]:
    """Where the two differ in shape (members and JSON types), in error numbers, messages, or truth values."""
    if isinstance(recorded, dict) and isinstance(got, dict):
        if where.endswith(".identifiers"):
            recorded, got = list(recorded.values()), list(got.values())
            return differences(recorded, got, where + "[]")
        if set(recorded) != set(got):
            return [f"{where}: members {sorted(set(recorded) ^ set(got))} on one side only"]
        return [each for name in recorded for each in differences(recorded[name], got[name], f"{where}.{name}")]
    if isinstance(recorded, list) and isinstance(got, list):
        if where.endswith(".result") and "/collection" in where:
            recorded, got = recorded[:1], got[:1]
        if len(recorded) != len(got) and "/database" not in where:
            return [f"{where}: {len(got)} items, recorded {len(recorded)}"]
        pairs = enumerate(zip(recorded, got, strict=False))
        return [each for index, (one, other) in pairs for each in differences(one, other, f"{where}[{index}]")]
    if json_type(recorded) != json_type(got):
        return [f"{where}: {got!r}, recorded {recorded!r}"]
    exact = where.endswith((".error", ".code", ".errorNum", ".errorMessage", ".hasMore", ".cached", ".unique", ".type"))
    if exact and recorded != got:
        return [f"{where}: {got!r}, recorded {recorded!r}"]
    return []


def json_type(value: Any) -> str:
    """The JSON type of a value: all numbers are one type."""
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
