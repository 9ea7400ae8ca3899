"""An operation: one decision on its way to S4, as a small record that any process can pick up where it stands."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from s6.model.position import Order
from s6.model.types import ZERO

OpKind = Literal["STOP_MOVE", "TP_PARTIAL", "ADD", "RISK_DOWNGRADE", "EXIT", "CLEANUP"]
# CANCEL: the cancel is to be sent · AWAIT_CANCEL: sent, its outcome awaited · CHECK: the outcome is unclear, S4 is to
# be asked · PLACE: the new order is to be sent (or sent again: same ids, same body).
Stage = Literal["CANCEL", "AWAIT_CANCEL", "CHECK", "PLACE"]
REST_MS: Final = 750
#: The operations of a position that the store gave back count on from so far ahead: no id is given twice.
AHEAD: Final = 1_000


@dataclass(frozen=True, slots=True)
class Operation:
    """What was decided (``kind``, ``reason``), how far it is (``stage``) and under which ids it acts.

    ``target`` is the client_order_id to cancel. ``order`` is the order to send, frozen before its first request, so
    that every repetition carries the same body; None until its quantity can be known. ``gap_ts`` is when the old
    stop was known to be gone (0: no gap); ``deadline`` bounds the wait for a cancel's outcome; ``not_before`` is the
    earliest next attempt; ``refusals`` counts what S4 refused within this operation.
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
    signal_id: str = ""
    order: Order | None = None
    attempts: int = 0
    gap_ts: int = 0
    deadline: int = 0
    not_before: int = 0
    refusals: int = 0
    tick_ts: int = 0

    def at_rest(self, now: int) -> bool:
        """Whether its next step is overdue: whoever was to take it seems gone."""
        due = max(self.not_before, self.deadline if self.stage == "AWAIT_CANCEL" else self.started_ts)
        return now > due + REST_MS


def intent_id(position_id: str, life: int, number: int, purpose: str) -> str:
    """The same for the same decision, whoever repeats it: 24 hex digits of SHA-256 over what the decision is."""
    digest = hashlib.sha256(f"{position_id}|{life}|{number}|{purpose}".encode()).hexdigest()
    return f"{purpose.lower()}-{digest[:24]}"
