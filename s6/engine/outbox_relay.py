"""Moves snapshots from the outboxes to the store: in bulk, in order, taken off only once the store has them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from s6 import keys
from s6.locks import held_softly
from s6.model import jsonx
from s6.model.commit import Cleared, Doc
from s6.model.types import Severity
from s6.ports import Alerts, Clock, LockBusy, Locks, Outbox, PartUnavailable
from s6.store import Store, StoreConflict, StoreError, StoreRefused

log = logging.getLogger(__name__)
POSITIONS: Final = 400
EACH: Final = 50
BACKLOG: Final = 50_000


class RelayState(Locks, Outbox, Protocol):
    """What relaying needs of the state."""


class OutboxRelay:
    """Runs once at a time; a second run finds the lock taken. After a crash the same documents are written again.

    ``forked`` is called with a position and the number of its operation then, when the store knows another history of
    it: Redis has lost a part and S6 went on without it.
    """

    def __init__(
        self,
        state: RelayState,
        store: Store,
        alerts: Alerts,
        clock: Clock,
        forked: Callable[[str, int], object] = lambda position_id, number: None,
    ) -> None:
        self._state = state
        self._store = store
        self._alerts = alerts
        self._clock = clock
        self._forked = forked

    def run(self, rounds: int = 20) -> int:
        """Move what waits. Returns the number of snapshots moved, 0 while the store is down; nothing is lost then.

        Raises ``StateUnavailable``.
        """
        moved = 0
        try:
            with held_softly(self._state, keys.RELAY_LOCK, self._clock):
                for _ in range(rounds):
                    some, handed_on = self._round()
                    moved += some
                    if not (some or handed_on):
                        break
        except LockBusy:
            return 0
        except StoreError as error:
            self._backlog(str(error))
        return moved

    def _round(self) -> tuple[int, int]:
        """Move up to ``EACH`` snapshots of up to ``POSITIONS`` positions, in a fixed number of round trips.

        Returns how many, and how many events were handed on whose committer died before.
        """
        listed = self._state.outbox_ids(POSITIONS)
        waiting = self._state.outbox_snapshots([position_id for position_id, _ in listed], EACH)
        docs: list[Doc] = []
        cleared: list[Cleared] = []
        for position_id, seen in listed:
            if position_id not in waiting:  # its node is away
                continue
            batch = waiting[position_id]
            docs += batch
            last_key = str(batch[-1]["_key"]) if batch else ""
            cleared.append(Cleared(position_id, len(batch), last_key, seen if len(batch) < EACH else None))
        if docs:
            self._write(docs)
        handed_on = sum(self._relay_events(position_id) for position_id in self._state.outbox_clear(cleared))
        return len(docs), handed_on

    def _relay_events(self, position_id: str) -> int:
        try:
            return self._state.relay_events(position_id, self._alerts.deliver)
        except PartUnavailable as error:
            log.warning("%s: events and alerts wait: %s", position_id, error)
            return 0

    def _write(self, docs: Sequence[Doc]) -> None:
        """Write all at once. What the store refuses goes to the dead letters, so that it holds up nothing else."""
        try:
            self._store.write_snapshots(docs)
        except StoreConflict as error:
            condemned = set(error.conflicts)
            for doc in docs:
                place = (str(doc["position_id"]), int(str(doc["seq"])))
                if place in condemned:
                    self._forked(place[0], _operations(doc))
                    self._put_aside(doc, StoreConflict([place]))
        except StoreRefused as error:
            if len(docs) == 1:
                self._put_aside(docs[0], error)
                return
            middle = len(docs) // 2
            self._write(docs[:middle])
            self._write(docs[middle:])

    def _put_aside(self, doc: Doc, error: StoreError) -> None:
        key = str(doc["_key"])
        self._alerts.dead_letter("snapshots", key, str(error), {"_key": key, "document": jsonx.dumps(doc)})

    def _backlog(self, why: str) -> None:
        size = self._state.outbox_size()
        severity: Severity = "ERROR" if size >= BACKLOG else "WARN"
        self._alerts.raise_alert(severity, "STORE_BACKLOG", f"{size} snapshots wait for the store: {why}")


def _operations(doc: Doc) -> int:
    """Return how many operations a snapshot's position had begun."""
    state = doc["state"]
    return int(str(state["op_count"])) if isinstance(state, Mapping) else 0
