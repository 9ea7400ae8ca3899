"""What has left Redis is read from the store, in the same shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from s6.model.documents import snapshot as document
from tests.unit.web.fakes import NOW, FakeServices, position

Told = Callable[[TestResponse], Any]


def left(services: FakeServices, name: str, ts: int = NOW, **changes: Any) -> None:
    """A position that only the store has, closed unless told otherwise."""
    gone = position(name, **{"status": "CLOSED", "qty": 0 * position().qty, **changes})
    services.store.docs.append(document(gone, "RESULT", "SL FILLED", ts, op=None))


def test_one_position_that_has_left(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    left(services, "p-1")
    from_store = told(reader.get("/positions/p-1"))
    assert from_store["state"]["status"] == "CLOSED" and from_store["operation"] is None
    services.state.put(position("p-1", status="CLOSED", qty=0 * position().qty))
    assert told(reader.get("/positions/p-1")) == from_store
    assert len(told(reader.get("/positions/p-1/timeline"))["items"]) == 1


def test_an_open_position_that_redis_lacks_is_not_shown_as_it_was(services: FakeServices, reader: FlaskClient) -> None:
    left(services, "p-1", status="OPEN")
    assert reader.get("/positions/p-1").status_code == 404


def names(page: Any) -> list[str]:
    return [item["position_id"] for item in page["items"]]


def test_lists_go_on_with_what_has_left_newest_first(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    services.state.put(position("b-open"))
    services.state.put(position("c-closed", status="CLOSED"))
    left(services, "c-closed", ts=NOW + 9)
    for number in (1, 3, 2):
        left(services, f"gone-{number}", ts=NOW + number, symbol="ETHUSDT" if number == 3 else "BTCUSDT")
    gone = ["gone-3", "gone-2", "gone-1"]
    assert names(told(reader.get("/positions"))) == ["b-open", "c-closed", *gone]
    assert names(told(reader.get("/positions?status=CLOSED"))) == ["c-closed", *gone]
    assert names(told(reader.get("/positions?status=OPEN"))) == ["b-open"]
    assert names(told(reader.get("/positions?status=CLOSED&symbol=ETHUSDT"))) == ["gone-3"]
    assert told(reader.get("/positions?status=CLOSED"))["next_cursor"] is None


def test_page_by_page_none_is_missed_or_doubled(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    for number in range(5):
        services.state.put(position(f"p-{number}"))
    for number in range(7):
        left(services, f"gone-{number}", ts=NOW - number)
    for limit in (1, 2, 3, 5, 12):
        found: list[str] = []
        cursor = ""
        while True:
            page = told(reader.get(f"/positions?limit={limit}&cursor={cursor}"))
            assert len(page["items"]) <= limit
            found += names(page)
            if page["next_cursor"] is None:
                break
            cursor = page["next_cursor"]
        assert found == [f"p-{n}" for n in range(5)] + [f"gone-{n}" for n in range(7)]


def test_with_the_store_away_what_redis_has_is_shown(services: FakeServices, reader: FlaskClient, told: Told) -> None:
    services.state.put(position("p-1"))
    services.store.down = True
    page = told(reader.get("/positions"))
    assert (names(page), page["next_cursor"]) == (["p-1"], "~")
    assert reader.get("/positions?cursor=~").status_code == 503
    assert reader.get("/positions/p-2").status_code == 503
    assert reader.get("/positions/p-1").status_code == 200
