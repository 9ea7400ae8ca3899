"""Connections through python-arango: one client per thread and process, time limits, errors as the store's own."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qsl, unquote, urlsplit

from arango.client import ArangoClient
from arango.cursor import Cursor
from arango.database import StandardDatabase
from arango.exceptions import ArangoError, ArangoServerError
from arango.http import HTTPClient
from arango.response import Response
from arango.typings import DataTypes
from requests import RequestException, Session

from s6.store.documents import dumps, loads
from s6.store.port import Document, StoreError, StoreUnavailable

CONFLICT = 1200
UNIQUE_VIOLATED = 1210
DUPLICATE_NAME = 1207
COLLECTION_MISSING = 1203
DATABASE_MISSING = 1228
DOCUMENT_MISSING = 1202

_PASSING_ERRORS = frozenset({CONFLICT, COLLECTION_MISSING, DATABASE_MISSING, 18, 1004, 1457, 1500})
"""Error numbers that may pass: conflicts, missing collections (until an operator runs ``s6 init-store``), lock
timeout, read-only server, cluster timeout, killed query."""

_PASSING_STATUSES = frozenset({401, 403, 408, 412, 429})
"""HTTP statuses that may pass. Refused credentials are among them: S6 keeps its history if a password changes early."""


@dataclass(frozen=True, slots=True)
class Address:
    """The database's address, and the credentials."""

    base: str
    database: str
    user: str
    password: str
    retention_days: int | None

    @classmethod
    def from_url(cls, url: str) -> Address:
        """Parse ``arango+http(s)://user:password@host:8529/database[?retention_days=N]``. Raises ``ValueError``."""
        parts = urlsplit(url)
        database = unquote(parts.path.strip("/"))
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        days = options.pop("retention_days", None)
        well_formed = parts.scheme in ("arango+http", "arango+https") and parts.hostname and parts.username
        if not well_formed or not database or "/" in database or options or parts.fragment:
            raise ValueError("an ArangoDB store URL is arango+http(s)://user:password@host:8529/database")
        if days is not None and not (days.isascii() and days.isdigit() and int(days) > 0):
            raise ValueError(f"retention_days is {days!r} in the store URL: a whole number of days is needed")
        host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
        return cls(
            base=f"{parts.scheme.removeprefix('arango+')}://{host}:{parts.port or 8529}",
            database=database,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            retention_days=None if days is None else int(days),
        )


class TimedHttp(HTTPClient):
    """HTTP with a time limit for connecting and one for the answer, and without retries.

    python-arango's own client retries any failed method, so it could repeat a write that must happen once.
    """

    def __init__(self, connect_s: float, read_s: float) -> None:
        self._timeout = (connect_s, read_s)

    def create_session(self, host: str) -> Session:
        return Session()

    def send_request(
        self,
        session: Session,
        method: str,
        url: str,
        headers: MutableMapping[str, str] | None = None,
        params: MutableMapping[str, str] | None = None,
        data: str | bytes | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Response:
        answer = session.request(
            method, url, params=params, data=data, headers=headers, auth=auth, timeout=self._timeout
        )
        return Response(method, answer.url, answer.headers, answer.status_code, answer.reason, answer.text)


class Clients:
    """Gives each thread its own connection to the database. A thread's first use creates it, so after any fork."""

    def __init__(self, address: Address, connect_s: float = 1.0, read_s: float = 3.0) -> None:
        self.address = address
        self._http = TimedHttp(connect_s, read_s)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        # Weak references: a client goes when its thread ends.
        self._open: weakref.WeakSet[ArangoClient] = weakref.WeakSet()

    @contextmanager
    def use(self, database: str | None = None) -> Iterator[StandardDatabase]:
        """Yield the database, or another one by name. Raises ``StoreError`` or ``StoreUnavailable`` for any failure."""
        where = f"ArangoDB {self.address.base}/{self.address.database}"
        try:
            yield self._client().db(database or self.address.database, self.address.user, self.address.password)
        except ArangoServerError as error:
            raise as_store_error(error, where) from error
        except (ArangoError, RequestException, OSError) as error:
            raise StoreUnavailable(f"{where}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            # python-arango raises this for an answer that is JSON but not ArangoDB's.
            raise StoreUnavailable(f"{where}: not an answer of ArangoDB's ({error!r})") from error

    def close(self) -> None:
        """Close the connections of all threads of this process."""
        with self._lock:
            for client in list(self._open) if self._pid == os.getpid() else []:
                client.close()
            self._open.clear()
            self._local = threading.local()

    def _client(self) -> ArangoClient:
        made_by, client = getattr(self._local, "made", (0, None))
        if client is None or made_by != os.getpid():
            client = ArangoClient(
                hosts=self.address.base,
                resolver_max_tries=1,
                http_client=self._http,
                serializer=dumps,
                deserializer=_deserialize,
            )
            with self._lock:
                if self._pid != os.getpid():
                    self._pid = os.getpid()
                    self._open.clear()
                self._open.add(client)
            self._local.made = (os.getpid(), client)
        return client


def as_store_error(error: ArangoServerError, where: str) -> StoreError:
    """Return a server's error as ``StoreUnavailable`` if it may pass, else as ``StoreError``."""
    status = error.http_code or 0
    if error.error_code in (COLLECTION_MISSING, DATABASE_MISSING):
        return StoreUnavailable(f"{where}: {error.message} (s6 init-store creates what is missing)")
    if error.error_code in _PASSING_ERRORS or status in _PASSING_STATUSES or status >= 500:
        return StoreUnavailable(f"{where}: {error.message}")
    return StoreError(f"{where}: {error.message}")


def values(db: StandardDatabase, text: str, **bound: object) -> list[object]:
    """Run a query and return all its results."""
    # One batch holds all results of any query here, so no cursor stays on the server.
    cursor = db.aql.execute(text, bind_vars=cast("MutableMapping[str, DataTypes]", bound), batch_size=5000)
    if not isinstance(cursor, Cursor):
        raise StoreUnavailable("ArangoDB answered a query with something else than a cursor")
    return list(cursor)


def rows(db: StandardDatabase, text: str, **bound: object) -> list[Document]:
    """Run a query and return its documents."""
    return [row for row in values(db, text, **bound) if isinstance(row, dict)]


def _deserialize(text: str) -> object:
    try:
        return loads(text) if text else None
    except ValueError as error:
        # For a ValueError, python-arango would take the text for the document.
        raise StoreUnavailable(f"ArangoDB answered what is not JSON: {text[:80]!r}") from error
