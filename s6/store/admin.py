"""An operator's commands on a store: create its schema, and prune it."""

from __future__ import annotations

import time
from contextlib import closing

from s6.store import StoreRefused, open_store

_DAY_MS = 86_400_000


def init_store(url: str) -> None:
    """Create the store's collections and indexes. Idempotent. Raises ``StoreError`` saying what failed."""
    with closing(open_store(url)) as store:
        store.init()


def prune(url: str, older_than_days: int) -> dict[str, int]:
    """Delete history older than ``older_than_days`` days (``Store.prune`` says what stays).

    Returns the number of deleted documents by collection. Raises ``StoreError``.
    """
    if older_than_days < 1:
        raise StoreRefused(f"older_than_days is {older_than_days}: at least 1 is needed")
    with closing(open_store(url)) as store:
        return store.prune(before_ts=time.time_ns() // 1_000_000 - older_than_days * _DAY_MS)
