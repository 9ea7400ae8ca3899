"""Which action goes before which operation that waits. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from s6.model.operation import Operation
from s6.model.position import Position
from s6.plan import Action

_UNPROTECTED: Final = 1
_RANK: Final = {"EXIT": 0, "RISK_DOWNGRADE": 2, "STOP_MOVE": 3, "TP_PARTIAL": 4, "ADD": 5, "CLEANUP": 6}
"""Smaller goes first. A stop where there is none goes behind an exit only."""


def overtakes(action: Action, p: Position, op: Operation) -> bool:
    """Return whether the action must not wait for ``op``: an exit, protection, or a cut in risk goes first."""
    rank = _RANK.get(action.type, 9)
    if action.type == "STOP_MOVE" and p.live_stop is None and not action.guard:
        rank = _UNPROTECTED
    mine = _UNPROTECTED if op.kind == "STOP_MOVE" and op.protects else _RANK[op.kind]
    return rank <= _RANK["RISK_DOWNGRADE"] and rank < mine


def same_decision(action: Action, op: Operation) -> bool:
    """Return whether the action is what the operation was begun for, in a size that the operation doesn't exceed."""
    if action.type != op.kind or action.signal_id != op.signal_id:
        return False
    return op.kind == "RISK_DOWNGRADE" or (op.qty <= action.qty and set(op.rungs) <= set(action.rungs))


def as_before(p: Position, op: Operation) -> Position:
    """Return the position as if the operation had never been begun: without its order, its signal not used."""
    orders = tuple(o for o in p.orders if o.client_order_id != op.client_order_id)
    signals = tuple(signal for signal in p.used_signals if signal != op.signal_id)
    return replace(p, orders=orders, used_signals=signals)
