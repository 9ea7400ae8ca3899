"""Positions whose newest steps were lost, and what S4 says of the orders that nobody wrote down."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

from s6.engine.operation import begin, ids
from s6.model import jsonx
from s6.model.operation import AHEAD, Operation
from s6.model.position import Position
from s6.model.wire import OrderResult
from s6.plan import Action
from tests.support.desk import Desk
from tests.unit.given import NOW, position, result, stopped

COUNT = 5
FIRST = COUNT + 1
LADDER = jsonx.dumps([{"roe": D("0.5"), "fraction": D("0.5")}, {"roe": D(1), "fraction": D("0.5")}])


def lost(price: int = 39_000, **members: Any) -> Position:
    """What a rebuild makes of a stopped position whose last recorded operation was the fifth."""
    rebuilt = {"op_count": COUNT + AHEAD, "unverified_from": FIRST, "rebuilt_ts": NOW, "ladder": LADDER}
    return stopped(price, **{**rebuilt, **members})


def told(kind: str, number: int, *, life: int = 1, **fields: Any) -> OrderResult:
    """What S4 says of the order that an operation sent."""
    purpose = {"EXIT": "EX", "REDUCE": "RED"}.get(kind, kind)
    intent, name = ids(position(life=life), number, purpose)
    kinds = {"type": "STOP_MARKET" if kind == "SL" else "MARKET", "side": "BUY" if kind == "ADD" else "SELL"}
    filled = {"status": "NEW", "filled_qty": None, "avg_price": None, "leverage": None}
    named = {"client_order_id": name, "intent_id": intent, "kind": kind}
    return result(**{**named, **kinds, **filled, **fields})


def have(desk: Desk, *results: OrderResult) -> None:
    desk.s4.has.update({one.client_order_id: one for one in results})


def gone(name: str, status: str = "CANCELED") -> OrderResult:
    return told("SL", 1, client_order_id=name, intent_id="i", status=status)


def moving(new: int = 39_500) -> tuple[Position, Operation]:
    """Rebuilt from a snapshot of a stop move that had just begun: the fifth operation."""
    action = Action("STOP_MOVE", "TRAIL", D(1), D(39_000), D(new), target="SL-1", step=D("0.001"))
    held, op = begin(stopped(39_000, op_count=COUNT - 1), action, NOW - 5_000)
    return replace(held, op_count=COUNT + AHEAD, unverified_from=FIRST, rebuilt_ts=NOW + 1), op
