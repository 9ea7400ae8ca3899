"""An operation: one decision on its way to S4, as a small record that any process can continue."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from s6.model.position import Order
from s6.model.types import ZERO

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
    so that every repetition carries the same body, and None until its quantity is known. ``unprotected_ts`` is when S6
    learned that the old stop is no longer live (0: the position is protected). ``deadline`` bounds the wait for a
    cancel's outcome, ``not_before`` is the earliest next attempt, and ``refusals`` counts S4's refusals within this
    operation. Times are in ms.
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
    unprotected_ts: int = 0
    deadline: int = 0
    not_before: int = 0
    refusals: int = 0
    tick_ts: int = 0

    def at_rest(self, now: int) -> bool:
        """Return whether the next step is overdue, so that its process seems to be gone. ``now`` is in ms."""
        due = max(self.not_before, self.deadline if self.stage == "AWAIT_CANCEL" else self.started_ts)
        return now > due + REST_MS


def intent_id(position_id: str, life: int, number: int, purpose: str) -> str:
    """Return the decision's intent id: its purpose and 24 hex digits of a SHA-256, the same for every repetition."""
    digest = hashlib.sha256(f"{position_id}|{life}|{number}|{purpose}".encode()).hexdigest()
    return f"{purpose.lower()}-{digest[:24]}"
