"""What is to be done: actions, and plans of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from s6.model.position import Position
from s6.model.types import ZERO, Severity

ActionType = Literal["EXIT", "RISK_DOWNGRADE", "STOP_MOVE", "TP_PARTIAL", "ADD", "CLEANUP", "STAGNATED"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. ``qty`` in base units; ``old``/``new``/``level`` belong to a STOP_MOVE, ``target`` is the
    client_order_id to cancel. ``guard`` marks what S6 holds itself (SPOT, or too small for S4): nothing to send."""

    type: ActionType
    reason: str
    qty: Decimal = ZERO
    old: Decimal | None = None
    new: Decimal | None = None
    level: int = 0
    target: str = ""
    guard: bool = False
    rungs: tuple[int, ...] = ()
    rung_roe: Decimal | None = None
    signal_id: str = ""
    margin: Decimal = ZERO
    step: Decimal = ZERO
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """Something that people are to be told about the plan: an alert, once for its position or scope."""

    severity: Severity
    code: str
    detail: str
    position_id: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in order. ``recheck_ms``: something falls due by itself after that long (0: nothing)."""

    position: Position
    actions: tuple[Action, ...] = ()
    recheck_ms: int = 0
    notes: tuple[Note, ...] = ()
