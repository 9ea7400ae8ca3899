"""Makes a planned action an operation: its stage, its deterministic ids, its order."""

from __future__ import annotations

from dataclasses import replace

from s6.model.operation import Operation, intent_id
from s6.model.position import Order, Position
from s6.model.types import OrderKind, closing_side, opening_side
from s6.plan import Action
from s6.rules import round_down
from s6.rules.exact import exactly

ORDER_KIND: dict[str, OrderKind] = {"TP_PARTIAL": "TP", "ADD": "ADD", "RISK_DOWNGRADE": "REDUCE", "EXIT": "EXIT"}
_PREFIX = {"STOP_MOVE": "SL", "TP_PARTIAL": "TP", "ADD": "ADD", "RISK_DOWNGRADE": "RED", "EXIT": "EX", "CLEANUP": "CX"}

ORDER_PREFIXES = tuple(prefix for kind, prefix in _PREFIX.items() if kind != "CLEANUP")
"""The prefixes of order ids."""


def begin(position: Position, action: Action, now: int, tick_ts: int = 0) -> tuple[Position, Operation]:
    """Return the position that has counted the operation, and the operation for this action."""
    assert action.type != "STAGNATED"
    number = position.op_count + 1
    intent, client_order_id = ids(position, number, _PREFIX[action.type])
    refusals = position.sl_refusals if action.type == "STOP_MOVE" and position.live_stop is None else 0
    cancels = action.type == "CLEANUP" or (action.type == "STOP_MOVE" and action.target)
    op = Operation(
        op_id=f"{position.life}-{number}",
        position_id=position.position_id,
        kind=action.type,
        stage="CANCEL" if cancels else "PLACE",
        reason="GUARD" if action.guard else action.reason,
        started_ts=now,
        intent=intent,
        client_order_id=client_order_id,
        target=action.target,
        old_price=action.old,
        new_price=action.new,
        level=action.level,
        qty=action.qty,
        step=action.step,
        rungs=action.rungs,
        rung_roe=action.rung_roe,
        signal_id=action.signal_id,
        refusals=refusals,
        tick_ts=tick_ts,
    )
    position = replace(position, op_count=number)
    if action.type == "EXIT":
        position = replace(position, exit_reason=action.reason)
    if action.type == "ADD":
        position = position.with_signal(action.signal_id)
    return position, op


def ids(position: Position, number: int, purpose: str) -> tuple[str, str]:
    """Return the intent's id and the order's. Both follow from the position's birth and the decision's place alone."""
    intent = intent_id(position.position_id, position.life_name, number, purpose)
    return intent, f"{purpose}-{intent.rsplit('-', 1)[1]}"


def order_of(position: Position, op: Operation, now: int) -> Order | None:
    """Return the order to send, sized by what is held now, or None when nothing is left to do."""
    stop = op.kind == "STOP_MOVE"
    kind: OrderKind = "SL" if stop else ORDER_KIND[op.kind]
    if op.kind == "EXIT" and op.reason == "GUARD":
        kind = "GUARD"
    qty = op.qty
    if op.kind != "ADD":
        with exactly():
            held = position.qty if stop else min(op.qty, position.qty - position.closing_in_flight)
        qty = round_down(held, op.step) if op.step else held  # no step: no bundle ever named the symbol
    if qty <= 0 or not position.is_open:
        return None
    return Order(
        client_order_id=op.client_order_id,
        intent_id=op.intent,
        kind=kind,
        side=opening_side(position.side) if op.kind == "ADD" else closing_side(position.side),
        type="STOP_MARKET" if stop else "MARKET",
        qty=qty,
        status="PENDING",
        sent_ts=now,
        life=position.life,
        ours=True,
        stop_px=op.new_price if stop else None,
        rungs=op.rungs,
        rung_roe=op.rung_roe,
        signal_id=op.signal_id,
    )
