"""The history store's port: what S6 keeps for good, and how it reads it again.

Three collections (docs/store.md describes their members):

* ``positions_snapshots``: one document per step of a position's life; a document never changes;
* ``treasury_transfers``: one document per transfer; its ``status`` changes by compare-and-set;
* ``alerts``: one document per alert; an acknowledgement rewrites it.

Documents are plain mappings of JSON values. Numbers are ``int`` or ``Decimal``; the store refuses a document with a
binary float. A number comes back as ``int`` if its text is an integer's, else as ``Decimal``. The writer chooses a
snapshot's ``_key``; the store derives a transfer's or an alert's from its id and does not show it.

Only ``StoreRefused`` and ``StoreConflict`` mean that a document is at fault. After any other error the caller keeps
the documents and writes them again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

SNAPSHOTS = "positions_snapshots"
TRANSFERS = "treasury_transfers"
ALERTS = "alerts"

FINAL_TRANSFER_STATUSES = frozenset({"EXECUTED", "FAILED", "REJECTED"})
"""The final statuses of a transfer. With any other status it is in flight, and pruning keeps it."""

Document = dict[str, object]


class StoreError(Exception):
    """The store failed. Repeating the call does not help, unless the error is a ``StoreUnavailable``."""


class StoreUnavailable(StoreError):
    """The call may work later: the store is down, slow or busy, or two writers collided.

    A write's outcome is then unknown: it may have happened. All writes may be repeated; after ``insert_transfer`` and
    ``update_transfer``, read the transfer to learn the outcome.
    """


class StoreRefused(StoreError):
    """The document or argument is at fault and nothing was written. The message names the member."""


class StoreConflict(StoreError):
    """Two different documents have the same key or ``seq``. The rest of the batch has been written.

    ``conflicts`` holds the (position_id, seq) of each document that was not written.
    """

    def __init__(self, conflicts: Sequence[tuple[str, int]]) -> None:
        self.conflicts = tuple(conflicts)
        named = ", ".join(f"{position_id} seq {seq}" for position_id, seq in self.conflicts[:5])
        more = f" and {len(self.conflicts) - 5} more" if len(self.conflicts) > 5 else ""
        super().__init__(f"another snapshot is already stored for {named}{more}")


class Page(NamedTuple):
    """A part of a list, and the opaque cursor for the next part (None at the end)."""

    items: list[Document]
    next_cursor: str | None


@runtime_checkable
class Store(Protocol):
    """Threads may share a store, and a process may create it before a fork: it connects where it is used."""

    def init(self) -> None:
        """Create collections and indexes. Idempotent, and safe beside running writers."""

    def ping(self) -> None:
        """Check cheaply that the store answers. Raises ``StoreUnavailable`` or ``StoreError``."""

    def write_snapshots(self, docs: Sequence[Mapping[str, object]]) -> None:
        """Write all of ``docs``. Repeating the whole batch is safe.

        Required members: ``_key``, ``position_id``, ``seq``, ``symbol``, ``ts`` (ms), ``status``. ``_key`` and
        (``position_id``, ``seq``) are unique. The store ignores a repetition of the same document. For a different
        document with the same ``_key`` or ``seq`` it writes the others and then raises ``StoreConflict``.
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
        """Return snapshots: a position's by ``seq``, a symbol's or all by ``ts``.

        Raises ``StoreRefused`` (bad cursor).
        """

    def latest(self) -> Iterator[Document]:
        """Yield each position's latest snapshot (highest ``seq``) in ``position_id`` order, reading page by page."""

    def closed(self, *, symbol: str | None = None, limit: int = 100, cursor: str | None = None) -> Page:
        """Return the latest snapshot of each position that is closed, newest first.

        Raises ``StoreRefused`` (bad cursor).
        """

    def write_alerts(self, docs: Sequence[Mapping[str, object]]) -> None:
        """Insert or replace alerts by ``alert_id``. Required members: ``alert_id``, ``ts`` (ms), ``severity``.

        A member ``ack`` that is neither absent nor null acknowledges the alert for good: a late repetition of the alert
        without it does not undo that.
        """

    def alerts(
        self, *, limit: int = 100, cursor: str | None = None, severity: str | None = None, standing: bool | None = None
    ) -> Page:
        """Return alerts, newest first. ``standing`` True selects unacknowledged FATAL alerts, False all others."""

    def insert_transfer(self, doc: Mapping[str, object]) -> bool:
        """Insert a transfer. Returns False if its ``transfer_id`` or its ``turn`` exists already.

        Required members: ``transfer_id``, ``ts`` (ms), ``status``. A ``turn`` that is neither absent nor null is unique
        among all transfers: of several with one turn, at any distance of time, the store inserts one.
        """

    def transfer(self, transfer_id: str) -> Document | None:
        """Return the transfer's current document, or None if there is none."""

    def update_transfer(
        self, transfer_id: str, *, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None:
        """Replace the members in ``changes`` if ``status`` is (one of) ``expect``. Of concurrent callers one succeeds.

        Returns the new document, or None if the transfer has another status or does not exist.
        """

    def transfers(
        self, *, limit: int = 100, cursor: str | None = None, status: str | Collection[str] | None = None
    ) -> Page:
        """Return transfers with (one of) the given ``status``, newest first."""

    def prune(self, *, before_ts: int) -> dict[str, int]:
        """Delete what is older than ``before_ts`` (ms), in small steps.

        The latest snapshot of an OPEN position, transfers in flight and standing alerts stay at any age. Returns the
        number of deleted documents by collection.
        """

    def close(self) -> None:
        """Close all connections. No other call may be under way or follow."""


def is_standing(alert: Mapping[str, object]) -> bool:
    """Return whether an alert stands: it is FATAL and its ``ack`` is absent or null."""
    return alert.get("severity") == "FATAL" and alert.get("ack") is None
