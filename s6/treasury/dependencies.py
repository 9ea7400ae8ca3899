"""The treasury's dependencies, and their errors as the treasury's own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from s6 import keys
from s6.locks import held
from s6.ports import (
    Alerts,
    Approvals,
    BundleSource,
    Clock,
    Locks,
    Metrics,
    NeighbourUnavailable,
    StateUnavailable,
    Wallets,
)
from s6.store import Document, Page, StoreError
from s6.treasury.refusals import Unavailable


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


class TreasuryHints(Protocol):
    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        """Ask for ``Treasury.advance`` soon. The hint may be lost or doubled; the sweep does what is left."""


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
    bundles: BundleSource
    alerts: Alerts
    metrics: Metrics
    clock: Clock
    hints: TreasuryHints

    def lock(self, src: str, dst: str) -> AbstractContextManager[str]:
        """Return a context manager that holds ``lock:treasury:FROM:TO``.

        Entering it raises ``LockBusy`` if another process holds the lock.
        """
        return held(self.state, keys.treasury_lock(src, dst), self.alerts, self.clock)


@contextmanager
def answering(what: str) -> Iterator[None]:
    """Turn the errors of dependencies into ``Unavailable``. ``what`` names the attempted action in its text."""
    try:
        yield
    except StoreError as error:
        raise Unavailable("STORE_UNAVAILABLE", f"{what}: {error}") from error
    except StateUnavailable as error:
        raise Unavailable("STATE_UNAVAILABLE", f"{what}: {error}") from error
    except NeighbourUnavailable as error:
        wait_s = 2 if error.retry_after_ms is None else max(1, -(-error.retry_after_ms // 1000))
        raise Unavailable(f"{error.name.upper()}_UNAVAILABLE", f"{what}: {error}", wait_s) from error
