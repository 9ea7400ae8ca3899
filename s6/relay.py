"""Snapshots from the outboxes to the store: in bulk, in order, taken off only once the store has them."""

from __future__ import annotations

from typing import Final

from s6.ports import Alerts, Doc, Metrics, State
from s6.store import Store, StoreConflict, StoreUnavailable

LOCK: Final = "lock:relay"
LOCK_MS: Final = 30_000
POSITIONS: Final = 400
EACH: Final = 50
BACKLOG: Final = 50_000


class Relay:
    """Single-flight; a second one finds the lock taken. A repetition after a crash writes the same documents again."""

    def __init__(self, state: State, store: Store, alerts: Alerts, metrics: Metrics) -> None:
        self._state = state
        self._store = store
        self._alerts = alerts
        self._metrics = metrics

    def run(self, rounds: int = 20) -> int:
        """Move what waits; the number of snapshots moved. With the store down nothing is lost and nothing moves."""
        token = self._state.lock(LOCK, LOCK_MS)
        if token is None:
            return 0
        moved = 0
        try:
            for _ in range(rounds):
                some = self._round()
                moved += some
                if not some:
                    break
        except StoreUnavailable as error:
            self._backlog(str(error))
        finally:
            self._state.unlock(LOCK, token)
        return moved

    def _round(self) -> int:
        waiting = self._state.outbox_ids(POSITIONS)
        batches: list[tuple[str, float, list[Doc]]] = []
        for position_id, seen in waiting:
            self._state.relay_events(position_id)
            batches.append((position_id, seen, self._state.outbox_peek(position_id, EACH)))
        docs = [doc for _, _, batch in batches for doc in batch]
        if docs:
            self._write(docs)
        for position_id, seen, batch in batches:
            if batch:
                self._state.outbox_drop(position_id, str(batch[-1]["_key"]), len(batch))
            if len(batch) < EACH:
                self._state.outbox_done(position_id, seen)
        return len(docs)

    def _write(self, docs: list[Doc]) -> None:
        """All at once; should one contradict what the store has, the others still go and it is told of."""
        try:
            self._store.write_snapshots(docs)
        except StoreConflict:
            for doc in docs:
                try:
                    self._store.write_snapshots([doc])
                except StoreConflict as error:
                    self._alerts.dead_letter("snapshots", str(doc["_key"]), str(error), {"_key": str(doc["_key"])})

    def _backlog(self, why: str) -> None:
        size = self._state.outbox_size()
        severity = "ERROR" if size >= BACKLOG else "WARN"
        self._alerts.raise_alert(severity, "STORE_BACKLOG", f"{size} snapshots wait for the store: {why}")  # type: ignore[arg-type]
