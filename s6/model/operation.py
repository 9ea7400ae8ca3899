"""An operation: one decision on its way to S4, as a small record that any process can continue."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from s6.model.position import Order
from s6.model.types import ZERO
from s6.model.waiting import LONGEST_MS, left_ms

OpKind = Literal["STOP_MOVE", "TP_PARTIAL", "ADD", "RISK_DOWNGRADE", "EXIT", "CLEANUP"]
# CANCEL: send the cancel. AWAIT_CANCEL: wait for its outcome. CHECK: ask S4, because the outcome is unclear.
# PLACE: send the new order, or send it again with the same ids and the same body.
Stage = Literal["CANCEL", "AWAIT_CANCEL", "CHECK", "PLACE"]
REST_MS: Final = 750
#: A position rebuilt from the store numbers its operations from this far ahead, so that no id occurs twice.
AHEAD: Final = 1_000


@dataclass(frozen=True, slots=True)
class Operation:
    """A decision (``kind``, ``reason``), its progress (``stage``) and the ids under which it acts.

    ``target`` is the client_order_id to cancel. ``order`` is the order to send; it is frozen before its first request
    so that every repetition carries the same body, and None until its quantity is known. ``deadline`` bounds
    the wait for a cancel's outcome, ``not_before`` is the earliest next attempt, and ``refusals`` counts S4's refusals
    within this operation. ``failing_ts`` is the first of its tries without a usable answer (0: none); ``fatal`` says
    that an alert told people of them. Times are in ms.
    """

    op_id: str
    position_id: str
    kind: OpKind
    stage: Stage
    reason: str
    started_ts: int
    intent: str
    client_order_id: str
    target: str = ""
    old_price: Decimal | None = None
    new_price: Decimal | None = None
    level: int = 0
    qty: Decimal = ZERO
    step: Decimal = ZERO
    rungs: tuple[int, ...] = ()
    rung_roe: Decimal | None = None
    signal_id: str = ""
    order: Order | None = None
    attempts: int = 0
    deadline: int = 0
    not_before: int = 0
    refusals: int = 0
    failing_ts: int = 0
    fatal: bool = False
    tick_ts: int = 0

    @property
    def number(self) -> int:
        """Its number among the position's operations, of any life."""
        return int(self.op_id.rpartition("-")[2])

    @property
    def protects(self) -> bool:
        """Whether the position stands unprotected, or at risk, until this operation has succeeded."""
        unprotected = self.kind == "STOP_MOVE" and (self.stage == "PLACE" or not self.target)
        return unprotected or self.kind in ("EXIT", "RISK_DOWNGRADE")

    def at_rest(self, now: int) -> bool:
        """Return whether its next step is overdue: the process that was to take it seems gone."""
        due = max(self.not_before, self.deadline if self.stage == "AWAIT_CANCEL" else self.started_ts)
        return left_ms(due + REST_MS, now, LONGEST_MS + REST_MS) == 0


def intent_id(position_id: str, life: str, number: int, purpose: str) -> str:
    """Return the decision's intent id: its purpose and 24 hex digits of a SHA-256, the same for every repetition."""
    digest = hashlib.sha256(f"{position_id}|{life}|{number}|{purpose}".encode()).hexdigest()
    return f"{purpose.lower()}-{digest[:24]}"
