"""Steps made durable: snapshots numbered, events and quota moves put beside them, alerts and metrics told after."""

from __future__ import annotations

import logging
from dataclasses import replace

from s6.messages import snapshot
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Phase
from s6.ports import Alerts, Commit, Metrics, QuotaMove, Sample, State, StateUnavailable

log = logging.getLogger(__name__)


class Recorder:
    """The one way to write a position. Ports only; shared by governor, operations and results."""

    def __init__(self, state: State, alerts: Alerts, metrics: Metrics) -> None:
        self._state = state
        self._alerts = alerts
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
    ) -> Position | None:
        """Commit with a snapshot of ``phase`` (none: no snapshot), and hand events on at once.

        ``before`` adds a BEFORE snapshot of that position in the same commit. None: somebody else wrote first.
        """
        snapshots = []
        position = replace(position, ts=now, cause=cause or position.cause)
        if before is not None:
            position = replace(position, seq=position.seq + 1)
            shown = replace(before, seq=position.seq, rev=position.rev + 1, ts=now, cause=cause or position.cause)
            snapshots.append(snapshot(shown, "BEFORE", cause, now, op=op))
        if phase is not None:
            position = replace(position, seq=position.seq + 1)
            shown = replace(position, rev=position.rev + 1)
            snapshots.append(snapshot(shown, phase, cause, now, op=op, order=about))
        written = self._state.commit(
            Commit(position, op, token, orders, tuple(events), tuple(snapshots), tuple(quotas))
        )
        if written is not None and (events or quotas):
            self._hand_on(position.position_id)
        return written

    def _hand_on(self, position_id: str) -> None:
        """What can't be handed on now stays in the outbox for the relay: the step itself is written and must go on."""
        try:
            self._state.relay_events(position_id)
        except StateUnavailable as error:
            log.warning("%s: events wait for the relay: %s", position_id, error)

    def tell(
        self, position_id: str, alerts: tuple[tuple[str, str, str], ...], samples: tuple[Sample, ...] = ()
    ) -> None:
        """Alerts and metrics of a step that has been written."""
        for severity, code, detail in alerts:
            self._alerts.raise_alert(severity, code, detail, position_id=position_id)  # type: ignore[arg-type]
        for sample in samples:
            if sample.verb == "inc":
                self._metrics.inc(sample.name, sample.value, **sample.labels)
            elif sample.verb == "observe":
                self._metrics.observe(sample.name, sample.value, **sample.labels)
            else:
                self._metrics.set(sample.name, sample.value, **sample.labels)
