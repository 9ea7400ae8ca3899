"""Steps made durable: snapshots numbered, events, quota moves and alerts put beside them, metrics told after."""

from __future__ import annotations

import logging
from dataclasses import replace

from s6.model.commit import Alert, Commit, QuotaMove, Sample
from s6.model.documents import alert, snapshot
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Phase, Severity
from s6.ports import Alerts, Metrics, State, StateUnavailable

log = logging.getLogger(__name__)


class Recorder:
    """The one way to write a position. Ports only; shared by governor, operations and results."""

    def __init__(self, state: State, alerts: Alerts, metrics: Metrics) -> None:
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
    ) -> Position | None:
        """Commit with a snapshot of ``phase`` (none: no snapshot), and hand events and alerts on at once.

        ``before`` adds a BEFORE snapshot of that position in the same commit. ``alerts``: severity, code and detail
        each. None: somebody else wrote first.
        """
        snapshots = []
        now = max(now, position.ts)  # processes' clocks differ, and one may have looked before another wrote
        position = replace(position, ts=now, cause=cause or position.cause)
        if before is not None:
            position = replace(position, seq=position.seq + 1)
            shown = replace(before, seq=position.seq, rev=position.rev + 1, ts=now, cause=cause or position.cause)
            snapshots.append(snapshot(shown, "BEFORE", cause, now, op=op))
        if phase is not None:
            position = replace(position, seq=position.seq + 1)
            shown = replace(position, rev=position.rev + 1)
            snapshots.append(snapshot(shown, phase, cause, now, op=op, order=about))
        noted = tuple(alert(position, number, *told, now) for number, told in enumerate(alerts))
        written = self._state.commit(
            Commit(position, op, token, orders, tuple(events), tuple(snapshots), tuple(quotas), noted)
        )
        if written is not None and (events or quotas or noted):
            self._hand_on(position.position_id, noted)
        return written

    def _hand_on(self, position_id: str, alerts: tuple[Alert, ...]) -> None:
        """What can't be handed on now stays in the outbox for the relay: the step itself is written and must go on."""
        try:
            if self._state.relay_events(position_id, self.alerts.deliver):
                return
            for one in alerts:  # another relay is at it or has died over it; a FATAL must stand before we go on
                self.alerts.deliver(one)
        except StateUnavailable as error:
            log.warning("%s: events and alerts wait for the relay: %s", position_id, error)

    def publish(
        self, position_id: str, alerts: tuple[tuple[Severity, str, str], ...], samples: tuple[Sample, ...] = ()
    ) -> None:
        """Metrics of a step that has been written, and alerts that belong to no commit."""
        for severity, code, detail in alerts:
            self.alerts.raise_alert(severity, code, detail, position_id=position_id)
        for sample in samples:
            if sample.verb == "inc":
                self._metrics.inc(sample.name, sample.value, **sample.labels)
            elif sample.verb == "observe":
                self._metrics.observe(sample.name, sample.value, **sample.labels)
            else:
                self._metrics.set(sample.name, sample.value, **sample.labels)
