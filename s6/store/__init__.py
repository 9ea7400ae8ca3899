"""History stores behind one port: SQLite (embedded, the default) and ArangoDB."""

from __future__ import annotations

from s6.store.port import (
    Document,
    Page,
    Store,
    StoreConflict,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    is_standing,
)

__all__ = [
    "Document",
    "Page",
    "Store",
    "StoreConflict",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "is_standing",
    "open_store",
]


def open_store(url: str) -> Store:
    """Return the store that ``url`` names. It connects at its first call.

    ``url`` is ``sqlite:///relative/path``, ``sqlite:////absolute/path`` or
    ``arango+http(s)://user:password@host:8529/database``; ``?retention_days=N`` lets ArangoDB expire snapshots. Raises
    ``ValueError`` for anything else.
    """
    if url.startswith("sqlite:"):
        from s6.store.sqlite import SqliteStore

        return SqliteStore.from_url(url)
    if url.startswith(("arango+http:", "arango+https:")):
        from s6.store.arango import ArangoStore

        return ArangoStore.from_url(url)
    raise ValueError("a store URL is sqlite:///path or arango+http(s)://user:password@host:8529/database")
