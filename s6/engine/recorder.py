"""The one way to write a position: snapshots numbered, events, quota moves and alerts beside them, samples after."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from s6.model.commit import Alert, Commit, Loaded, QuotaMove, Sample
from s6.model.documents import alert, snapshot
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Phase, Severity
from s6.plan.protection import watched
from s6.ports import Alerts, Commits, Metrics, Outbox, Positions, StateUnavailable

log = logging.getLogger(__name__)
TRIES: Final = 64


class Drawn(NamedTuple):
    """A change as it is committed, and what is counted once it stands."""

    commit: Commit
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be written over a position as it was read.

    ``phase`` is that of the snapshot (none: no snapshot). ``about`` is the order whose result is written. ``before``
    adds a BEFORE snapshot of that position in the same commit. ``alerts``: severity, code and detail each. ``samples``
    are counted once the commit stands. ``since`` is when it happened at the exchange (ms), where that is known.
    ``outcome`` says how an operation ended; with a RESULT it adds an AFTER snapshot that says so.
    """

    position: Position
    op: Operation | None
    now: int
    token: str = ""
    phase: Phase | None = None
    cause: str = ""
    about: Order | None = None
    before: Position | None = None
    orders: tuple[Order, ...] = ()
    events: tuple[dict[str, str], ...] = ()
    quotas: tuple[QuotaMove, ...] = ()
    alerts: tuple[tuple[Severity, str, str], ...] = ()
    samples: tuple[Sample, ...] = ()
    since: int | None = None
    outcome: str = ""

    def drawn(self) -> Drawn:
        """Return the commit with its snapshots."""
        position, cause, samples, snapshots = self.position, self.cause, self.samples, []
        now = max(self.now, position.ts)  # processes' clocks differ, and one may have looked before another wrote
        position, seconds, first = watched(replace(position, ts=now, cause=cause or position.cause), now, self.since)
        if seconds is not None:
            samples += (Sample("observe", "s6_first_stop_seconds" if first else "s6_unprotected_seconds", seconds),)
        if self.before is not None:
            position = replace(position, seq=position.seq + 1)
            rev, cause_then = position.rev + 1, cause or position.cause
            shown = replace(self.before, seq=position.seq, rev=rev, ts=now, cause=cause_then)
            snapshots.append(snapshot(shown, "BEFORE", cause, now, op=self.op))
        if self.phase is not None:
            position = replace(position, seq=position.seq + 1)
            shown = replace(position, rev=position.rev + 1)
            ending = self.outcome if self.phase == "AFTER" else ""
            snapshots.append(snapshot(shown, self.phase, cause, now, op=self.op, order=self.about, outcome=ending))
        if self.outcome and self.phase == "RESULT":
            position = replace(position, seq=position.seq + 1)
            shown = replace(position, rev=position.rev + 1)
            snapshots.append(snapshot(shown, "AFTER", cause, now, op=self.op, outcome=self.outcome))
        noted = tuple(alert(position, number, *raised, now) for number, raised in enumerate(self.alerts))
        events, quotas = tuple(self.events), tuple(self.quotas)
        commit = Commit(position, self.op, self.token, self.orders, events, tuple(snapshots), quotas, noted)
        return Drawn(commit, samples)


class RecorderState(Positions, Commits, Outbox, Protocol):
    """What writing a position needs of the state."""


class Recorder:
    """Shared by everything that writes positions: governor, executor, results, commands and recovery."""

    def __init__(self, state: RecorderState, alerts: Alerts, metrics: Metrics) -> None:
        self._state = state
        self.alerts = alerts
        self._metrics = metrics

    def write(self, change: Change) -> Position | None:
        """Commit a change, and hand events and alerts on at once.

        Returns the position as written, or None when somebody else wrote first. Raises ``LockLost`` when the token no
        longer holds the lock, ``StateUnavailable``.
        """
        drawn = change.drawn()
        written = self._state.commit(drawn.commit)
        if written is not None:
            self._stands(drawn)
        return written

    def write_many(self, changes: Sequence[Drawn]) -> list[Position | None]:
        """Commit changes of as many positions in one trip, each by itself.

        Returns each position as written, None where somebody else wrote first or a cluster's node is away. Raises
        ``StateUnavailable``: any of them may have been written then.
        """
        written = self._state.commit_many([change.commit for change in changes])
        for change, position in zip(changes, written, strict=True):
            if position is not None:
                self._stands(change)
        return written

    def _stands(self, drawn: Drawn) -> None:
        commit, samples = drawn
        if self._state.leaves(commit):
            self._hand_on(commit.position.position_id, commit.alerts)
        self.publish(commit.position.position_id, (), samples)

    def update(
        self,
        position_id: str,
        change: Callable[[Loaded], Change | None],
        *,
        loaded: Loaded | None = None,
        tries: int = TRIES,
    ) -> Loaded | None:
        """Load a position, change it and write it; when somebody else writes meanwhile, do so again.

        ``change`` returns None to leave the position as it is. ``loaded`` is what the caller has read already: mostly
        nobody has written since.

        Returns what stands afterwards, None when there is no such position. Raises ``LockLost``, and
        ``StateUnavailable`` also when others wrote first ``tries`` times.
        """
        for _ in range(tries):
            loaded = loaded or self._state.load(position_id)
            wanted = change(loaded) if loaded is not None else None
            if wanted is None:
                return loaded
            written = self.write(wanted)
            if written is not None:
                return Loaded(written, wanted.op)
            loaded = None
        raise StateUnavailable(f"{position_id} kept changing: others wrote first {tries} times")

    def _hand_on(self, position_id: str, alerts: tuple[Alert, ...]) -> None:
        """Hand on what the commit put into the outbox. What cannot be handed on now waits there for the relay."""
        try:
            if self._state.relay_events(position_id, self.alerts.deliver):
                return
            for one in alerts:  # another relay holds the claim or has died; a FATAL must stand before we go on
                self.alerts.deliver(one)
        except StateUnavailable as error:
            log.warning("%s: events and alerts wait for the relay: %s", position_id, error)

    def publish(
        self, position_id: str, alerts: tuple[tuple[Severity, str, str], ...], samples: tuple[Sample, ...] = ()
    ) -> None:
        """Raise alerts that belong to no commit, and count samples."""
        for severity, code, detail in alerts:
            self.alerts.raise_alert(severity, code, detail, position_id=position_id)
        for sample in samples:
            if sample.verb == "inc":
                self._metrics.inc(sample.name, sample.value, **sample.labels)
            elif sample.verb == "observe":
                self._metrics.observe(sample.name, sample.value, **sample.labels)
            else:
                self._metrics.set(sample.name, sample.value, **sample.labels)
