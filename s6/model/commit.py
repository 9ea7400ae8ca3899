"""What one step reads and writes: a position with its operation, a commit, and what the commit's outbox carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple

from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Severity

Doc = Mapping[str, object]


class Loaded(NamedTuple):
    """A position and its operation in flight, from one consistent read."""

    position: Position
    op: Operation | None


class Waiting(NamedTuple):
    """One position's outbox: the number of its events, quota moves and alerts, and its oldest snapshots."""

    events: int
    snapshots: list[Doc]


class Cleared(NamedTuple):
    """Says that the store holds the first ``number`` snapshots of a position's outbox, up to ``last_key``.

    ``seen`` is the position's mark in ``outbox_ids`` if the outbox held nothing else, or None if it holds more.
    """

    position_id: str
    number: int
    last_key: str
    seen: float | None


@dataclass(frozen=True, slots=True)
class QuotaMove:
    """One change of a ``risk:*`` counter, applied exactly once per ``move_id``.

    With ``restores`` it applies only while the counter counts as lost (see ``s6.ports.Losses.quota_whole``).
    """

    move_id: str
    key: str
    delta: Decimal
    restores: bool = False


class Reservation(NamedTuple):
    """Room that was reserved for an add, by its order's id, since ``ts`` (ms)."""

    client_order_id: str
    margin: Decimal
    ts: int


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that a commit raises, exactly once per ``alert_id``."""

    alert_id: str
    ts: int
    severity: Severity
    code: str
    position_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything that one decision or one result changes; it is written as a whole or not at all.

    ``position`` carries the ``rev`` it was read with. The write fails if Redis has another ``rev``, or if ``token`` is
    given and no longer holds ``lock:pos:{ID}``. ``over`` is the ``rev`` that Redis must have if that isn't the
    position's own (0: Redis has no position). ``op`` is the operation in flight after the write, or None. ``orders``
    are the changed orders. ``events``, ``snapshots``, ``quotas`` and ``alerts`` join the position's outbox in the same
    write; events go to their stream at once where the script that writes reaches it. ``whole`` also writes what others
    read of the position although it has not changed: some of it may be gone.
    """

    position: Position
    op: Operation | None
    token: str = ""
    orders: tuple[Order, ...] = ()
    events: tuple[Mapping[str, str], ...] = ()
    snapshots: tuple[Doc, ...] = ()
    quotas: tuple[QuotaMove, ...] = ()
    alerts: tuple[Alert, ...] = ()
    over: int | None = None
    whole: bool = False

    @property
    def ended_adds(self) -> tuple[str, ...]:
        """The client order ids of adds that have ended with this commit: their reservations end with their moves."""
        return tuple(o.client_order_id for o in self.orders if o.kind == "ADD" and not o.live)


@dataclass(frozen=True, slots=True)
class Sample:
    """One change of a metric: ``inc`` of a counter, ``observe`` of a histogram or ``set`` of a gauge."""

    verb: Literal["inc", "observe", "set"]
    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
