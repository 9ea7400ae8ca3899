"""The stores that the contract is run against."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from arango.client import ArangoClient

from s6.store import Store, open_store
from s6.store.arango_connection import Address
from tests.doubles.arango import ArangoDouble

LIVE_URL = os.environ.get("S6_TEST_ARANGO_URL", "")

STORES = ["sqlite", "arango-double", *(["arango-live"] if LIVE_URL else [])]


@pytest.fixture
def arango_double() -> Iterator[ArangoDouble]:
    """An ArangoDB double, empty."""
    with ArangoDouble() as double:
        yield double


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a store of its own for each test, not yet initialised."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/deep/er/history.db"
    elif request.param == "arango-double":
        double: ArangoDouble = request.getfixturevalue("arango_double")
        yield double.url()
    else:
        parts = urlsplit(LIVE_URL)
        url = urlunsplit(parts._replace(path=f"/s6_test_{uuid.uuid4().hex[:12]}"))
        yield url
        address = Address.from_url(url)
        client = ArangoClient(hosts=address.base)
        client.db("_system", address.user, address.password).delete_database(address.database, ignore_missing=True)
        client.close()


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An initialised store."""
    with closing(open_store(store_url)) as store:
        store.init()
        yield store
