"""What one step reads and writes: a position with its operation, a commit, and what a commit tells others."""

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
    """A position and its operation in flight, as one consistent read."""

    position: Position
    op: Operation | None


class Waiting(NamedTuple):
    """What one position's outbox holds: how many events, quota moves and alerts, and its oldest snapshots."""

    events: int
    snapshots: list[Doc]


class Cleared(NamedTuple):
    """The first ``number`` snapshots of a position, the last of them being ``last_key``, are in the store.

    ``seen``: its mark in ``outbox_ids`` when nothing more than those was found; None when there is more.
    """

    position_id: str
    number: int
    last_key: str
    seen: float | None


@dataclass(frozen=True, slots=True)
class QuotaMove:
    """One change of a ``risk:*`` counter, applied exactly once per ``move_id``; ``restores``: only while the counter is
    one that was lost (see ``State.quota_whole``)."""

    move_id: str
    key: str
    delta: Decimal
    restores: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """What a commit has to tell people, told exactly once per ``alert_id``."""

    alert_id: str
    ts: int
    severity: Severity
    code: str
    position_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Commit:
    """Everything one decision or one result changes, written as a whole or not at all.

    ``position`` carries the ``rev`` it was read with; the write fails when Redis has another (or, with ``token``, when
    ``lock:pos:{ID}`` isn't held with it). ``op`` is the operation in flight afterwards, None for none. ``orders`` are
    the orders that changed; ``events``, ``snapshots``, ``quotas`` and ``alerts`` join the position's outbox in the same
    write. ``over`` is the ``rev`` that Redis must have where that isn't the position's own (0: nothing is there).
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


@dataclass(frozen=True, slots=True)
class Sample:
    """One change of a metric: ``inc`` for counters, ``observe`` for histograms, ``set`` for gauges."""

    verb: Literal["inc", "observe", "set"]
    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
