"""The one way to write a position: snapshots numbered, events, quota moves and alerts beside them, samples after."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from s6.model.commit import Alert, Commit, Loaded, QuotaMove, Sample
from s6.model.documents import alert, snapshot
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Phase, Severity
from s6.plan.protection import watched
from s6.ports import Alerts, Commits, Metrics, Outbox, Positions, StateUnavailable

log = logging.getLogger(__name__)
TRIES: Final = 64


@dataclass(frozen=True, slots=True)
class Change:
    """What ``Recorder.update`` writes over a position that it has loaded; the members are those of ``write``."""

    position: Position
    op: Operation | None
    now: int
    token: str = ""
    phase: Phase | None = None
    cause: str = ""
    orders: tuple[Order, ...] = ()
    events: tuple[dict[str, str], ...] = ()
    alerts: tuple[tuple[Severity, str, str], ...] = ()
    samples: tuple[Sample, ...] = ()
    outcome: str = ""


class RecorderState(Positions, Commits, Outbox, Protocol):
    """What writing a position needs of the state."""


class Recorder:
    """Shared by everything that writes positions: governor, executor, results, commands and recovery."""

    def __init__(self, state: RecorderState, alerts: Alerts, metrics: Metrics) -> None:
        self._state = state
        self.alerts = alerts
        self._metrics = metrics

    def write(
        self,
        position: Position,
        op: Operation | None,
        now: int,
        *,
        token: str = "",
        phase: Phase | None = None,
        cause: str = "",
        about: Order | None = None,
        before: Position | None = None,
        orders: tuple[Order, ...] = (),
        events: tuple[dict[str, str], ...] = (),
        quotas: tuple[QuotaMove, ...] = (),
        alerts: tuple[tuple[Severity, str, str], ...] = (),
        samples: tuple[Sample, ...] = (),
        since: int | None = None,
        outcome: str = "",
    ) -> Position | None:
        """Commit with a snapshot of ``phase`` (none: no snapshot), and hand events and alerts on at once.

        ``about`` is the order whose result is written. ``before`` adds a BEFORE snapshot of that position in the same
        commit. ``alerts``: severity, code and detail each. ``samples`` are counted once the commit stands.
        ``since`` is when it happened at the exchange (ms), where that is known.
        ``outcome`` says how an operation ended; with a RESULT it adds an AFTER snapshot that says so.

        Returns the position as written, or None when somebody else wrote first. Raises ``LockLost`` when ``token`` no
        longer holds the lock, ``StateUnavailable``.
        """
        snapshots = []
        now = max(now, position.ts)  # processes' clocks differ, and one may have looked before another wrote
        position, seconds, first = watched(replace(position, ts=now, cause=cause or position.cause), now, since)
        if seconds is not None:
            samples += (Sample("observe", "s6_first_stop_seconds" if first else "s6_unprotected_seconds", seconds),)
        if before is not None:
            position = replace(position, seq=position.seq + 1)
            shown = replace(before, seq=position.seq, rev=position.rev + 1, ts=now, cause=cause or position.cause)
            snapshots.append(snapshot(shown, "BEFORE", cause, now, op=op))
        if phase is not None:
            position = replace(position, seq=position.seq + 1)
            shown = replace(position, rev=position.rev + 1)
            ending = outcome if phase == "AFTER" else ""
            snapshots.append(snapshot(shown, phase, cause, now, op=op, order=about, outcome=ending))
        if outcome and phase == "RESULT":
            position = replace(position, seq=position.seq + 1)
            shown = replace(position, rev=position.rev + 1)
            snapshots.append(snapshot(shown, "AFTER", cause, now, op=op, outcome=outcome))
        noted = tuple(alert(position, number, *raised, now) for number, raised in enumerate(alerts))
        written = self._state.commit(
            Commit(position, op, token, orders, tuple(events), tuple(snapshots), tuple(quotas), noted)
        )
        if written is not None and (events or quotas or noted or any(o.kind == "ADD" and not o.live for o in orders)):
            self._hand_on(position.position_id, noted)
        if written is not None:
            self.publish(position.position_id, (), samples)
        return written

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
            written = self._apply(wanted)
            if written is not None:
                return Loaded(written, wanted.op)
            loaded = None
        raise StateUnavailable(f"{position_id} kept changing: others wrote first {tries} times")

    def _apply(self, change: Change) -> Position | None:
        return self.write(
            change.position,
            change.op,
            change.now,
            token=change.token,
            phase=change.phase,
            cause=change.cause,
            orders=change.orders,
            events=change.events,
            alerts=change.alerts,
            samples=change.samples,
            outcome=change.outcome,
        )

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
