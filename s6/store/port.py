"""The history store's face: what S6 keeps for good, and what it may ask of it later.

Three collections (docs/store.md describes their members):

* ``positions_snapshots``: one document per step of a position's life, never changed once written;
* ``treasury_transfers``: one document per transfer, moved on by compare-and-set on its ``status``;
* ``alerts``: one document per alert, rewritten when it is acknowledged.

Documents are plain mappings as JSON has them. Numbers are ``int`` or ``Decimal``, never binary floats: a document that
holds one is refused. They come back as ``int`` where their text is an integer's, else as ``Decimal``.
A snapshot's ``_key`` is its writer's; a transfer's or an alert's is the store's own, made from its id, and not shown.

Only StoreRefused and StoreConflict condemn documents. Whatever else fails is the store's trouble: keep the documents.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

SNAPSHOTS = "positions_snapshots"
TRANSFERS = "treasury_transfers"
ALERTS = "alerts"

FINAL_TRANSFER_STATUSES = frozenset({"EXECUTED", "FAILED", "REJECTED"})
"""Statuses that a transfer never leaves: with any other it is in flight, and is never pruned."""

Document = dict[str, object]


class StoreError(Exception):
    """The store could not do what was asked. Repeating the call does not help, unless it is a StoreUnavailable."""


class StoreUnavailable(StoreError):
    """It may work later: the store is down, slow, busy, or two writers met.

    After a write this means *unknown*: the write may have happened, its answer lost. All writes here may be repeated;
    after ``insert_transfer`` and ``update_transfer`` read the transfer to learn which it was.
    """


class StoreRefused(StoreError):
    """The document or argument itself is at fault, and nothing was written: the message names the member."""


class StoreConflict(StoreError):
    """Different documents claim the same place. Everything else in the batch has been written.

    ``conflicts`` holds the (position_id, seq) of each document that was not written.
    """

    def __init__(self, conflicts: Sequence[tuple[str, int]]) -> None:
        self.conflicts = tuple(conflicts)
        named = ", ".join(f"{position_id} seq {seq}" for position_id, seq in self.conflicts[:5])
        more = f" and {len(self.conflicts) - 5} more" if len(self.conflicts) > 5 else ""
        super().__init__(f"another snapshot is already stored for {named}{more}")


class Page(NamedTuple):
    """A part of a list, and the opaque cursor that asks for the next one (None at the end)."""

    items: list[Document]
    next_cursor: str | None


@runtime_checkable
class Store(Protocol):
    """Safe to share between threads, and to make before a fork: connections are made lazily where they are used."""

    def init(self) -> None:
        """Create collections and indexes. Idempotent, harmless beside running writers."""

    def ping(self) -> None:
        """Ask the store whether it is there: cheap; raises StoreUnavailable (or StoreError) when not."""

    def write_snapshots(self, docs: Sequence[Mapping[str, object]]) -> None:
        """Write all of ``docs``, or raise; a retry of the whole batch is harmless.

        Needed members: ``_key``, ``position_id``, ``seq``, ``symbol``, ``ts``, ``status``. ``_key`` and
        (``position_id``, ``seq``) are unique: the same document again is ignored, a different one for a place that is
        taken raises StoreConflict once the others are written.
        """

    def snapshots(
        self,
        *,
        position_id: str | None = None,
        symbol: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        newest_first: bool = False,
    ) -> Page:
        """Snapshots of a position by ``seq``, else (of a symbol, or of all) by ``ts``. A bad cursor is StoreRefused."""

    def latest(self) -> Iterator[Document]:
        """Each position's latest snapshot (highest ``seq``), in ``position_id`` order, read page by page."""

    def write_alerts(self, docs: Sequence[Mapping[str, object]]) -> None:
        """Insert or replace alerts by ``alert_id``. Needed members: ``alert_id``, ``ts``, ``severity``.

        A member ``ack`` that is neither absent nor null acknowledges the alert, for good: a late repetition of the
        alert as it was before doesn't take that back.
        """

    def alerts(
        self, *, limit: int = 100, cursor: str | None = None, severity: str | None = None, standing: bool | None = None
    ) -> Page:
        """Alerts, newest first. ``standing``: only (or, False, all but) the FATAL ones not acknowledged."""

    def insert_transfer(self, doc: Mapping[str, object]) -> bool:
        """Insert a transfer, or say False: its ``transfer_id`` or its ``turn`` is there.

        Needed: ``transfer_id``, ``ts``, ``status``. A ``turn`` that is neither absent nor null is unique among all
        transfers: of several that claim it, at any distance of time, one is inserted.
        """

    def transfer(self, transfer_id: str) -> Document | None:
        """The transfer as it stands, or None."""

    def update_transfer(
        self, transfer_id: str, *, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None:
        """Replace the members in ``changes`` if ``status`` is (one of) ``expect``: the new document.

        None when it has another status, or there is no such transfer. Of several callers at once, one wins.
        """

    def transfers(
        self, *, limit: int = 100, cursor: str | None = None, status: str | Collection[str] | None = None
    ) -> Page:
        """Transfers, newest first, with (one of) the given ``status``."""

    def prune(self, *, before_ts: int) -> dict[str, int]:
        """Delete what is older than ``before_ts`` (ms) in small steps; how many, by collection.

        Stays whatever its age: the latest snapshot of a position that is OPEN, transfers in flight, standing alerts.
        """

    def close(self) -> None:
        """Give up all connections. No other call may be under way or follow."""


def is_standing(alert: Mapping[str, object]) -> bool:
    """Whether an alert stands: FATAL, and its ``ack`` absent or null."""
    return alert.get("severity") == "FATAL" and alert.get("ack") is None
