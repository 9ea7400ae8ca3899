"""A step of an operation: the position and the operation after it, and what others are to hear."""

from __future__ import annotations

from dataclasses import dataclass

from s6.model.commit import Sample
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Severity

Raised = tuple[Severity, str, str]
"""An alert in the making: severity, code, detail."""


@dataclass(frozen=True, slots=True)
class Step:
    """A position and its operation after a step. ``op`` None: it has ended, and ``outcome`` says how."""

    position: Position
    op: Operation | None
    outcome: str = ""
    orders: tuple[Order, ...] = ()
    events: tuple[dict[str, str], ...] = ()
    alerts: tuple[Raised, ...] = ()
    samples: tuple[Sample, ...] = ()


def ended(op: Operation, outcome: str) -> tuple[Sample, ...]:
    """Return the samples that count an operation's end."""
    name = {"STOP_MOVE": "s6_stop_move_total", "TP_PARTIAL": "s6_tp_partial_total"}.get(op.kind)
    return (Sample("inc", name, 1, {"outcome": outcome}),) if name else ()
