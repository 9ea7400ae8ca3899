"""What the treasury works with, and the errors of these parts as the treasury's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from s6.model.bundle import ActiveBundle
from s6.ports import Alerts, Approvals, Clock, Metrics, NeighbourUnavailable, StateUnavailable, Wallets
from s6.store import Document, Page, StoreError
from s6.treasury.refusals import Unavailable

LOCK_TTL_MS = 6_000
"""Longer than any single call made under the lock; nothing depends on the lock outliving them."""


class Bundles(Protocol):
    def current(self) -> ActiveBundle | None:
        """The rules in force; None before the first bundle."""


class Transfers(Protocol):
    """The part of ``s6.store.Store`` that the treasury uses."""

    def insert_transfer(self, doc: Mapping[str, object]) -> bool: ...

    def transfer(self, transfer_id: str) -> Document | None: ...

    def update_transfer(
        self, transfer_id: str, *, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None: ...

    def transfers(
        self, *, limit: int = 100, cursor: str | None = None, status: str | Collection[str] | None = None
    ) -> Page: ...


class Locks(Protocol):
    """The part of ``s6.ports.State`` that the treasury uses."""

    def lock(self, key: str, ttl_ms: int) -> str | None: ...

    def unlock(self, key: str, token: str) -> bool: ...


class TreasuryHints(Protocol):
    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        """Ask for ``Treasury.advance`` soon. May be lost or doubled: the sweep sees to what is left."""


class NoHints:
    """Leaves everything to the sweep."""

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        return


@dataclass(frozen=True, slots=True)
class Dependencies:
    store: Transfers
    state: Locks
    wallets: Wallets
    approvals: Approvals
    bundles: Bundles
    alerts: Alerts
    metrics: Metrics
    clock: Clock
    hints: TreasuryHints

    @contextmanager
    def lock(self, src: str, dst: str) -> Iterator[bool]:
        """Hold ``lock:treasury:FROM:TO``; False when somebody else does."""
        key = f"lock:treasury:{src}:{dst}"
        token = self.state.lock(key, LOCK_TTL_MS)
        try:
            yield token is not None
        finally:
            if token is not None:
                self._unlock(key, token)

    def _unlock(self, key: str, token: str) -> None:
        try:
            self.state.unlock(key, token)
        except StateUnavailable:
            return  # it expires by itself, and what was done under it stands


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn a part that cannot be asked into ``Unavailable``; ``what`` says what was being done."""
    try:
        yield
    except StoreError as error:
        raise Unavailable("STORE_UNAVAILABLE", f"{what}: {error}") from error
    except StateUnavailable as error:
        raise Unavailable("STATE_UNAVAILABLE", f"{what}: {error}") from error
    except NeighbourUnavailable as error:
        wait_s = 2 if error.retry_after_ms is None else max(1, -(-error.retry_after_ms // 1000))
        raise Unavailable(f"{error.name.upper()}_UNAVAILABLE", f"{what}: {error}", wait_s) from error
