"""Models for governing and reading positions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from s6.model.types import Market, Phase, PositionStatus, Side
from web.schemas.fields import Answer, Body, Number, Paged, PositionId, Symbol, Text, Ts

Action = Literal["EVAL", "PLAN", "EXIT", "PAUSE", "RESUME", "WRITE_OFF"]


class ManageRequest(Body):
    """One action on one position; `symbol` and `market` must be the position's own."""

    symbol: Symbol
    market: Market
    position_id: PositionId
    actions: Annotated[list[Action], Field(min_length=1, max_length=1, description="One word.")]
    reason: Annotated[Text, Field(description="Goes into the position's timeline, with the caller's name.")] = ""


class PlannedAction(Answer):
    """One action of a plan. A STOP_MOVE has `old` and `new`, a trade has `qty`."""

    type: str


class Plan(Answer):
    """The actions that governance decided, in the order of execution."""

    plan_id: str
    actions: list[PlannedAction]


class PlannedOrder(Answer):
    """A request to S4 that the plan leads to: a CANCEL with its `target`, or a NEW order."""

    kind: Literal["CANCEL", "NEW"]


class ManageAnswer(Answer):
    """The plan, and the requests to S4 that it leads to."""

    plan: Plan
    orders: list[PlannedOrder]


class PositionsQuery(Paged):
    """The filters of the list of positions."""

    symbol: Symbol | None = None
    market: Market | None = None
    status: PositionStatus | None = None


class TimelineQuery(Paged):
    """The part of the timeline to read."""


class PositionState(Answer):
    """The live position. Prices are in quote currency, quantities in base units, money in USDT."""

    position_id: str
    symbol: str
    market: Market
    side: Side
    status: PositionStatus
    paused: bool
    qty: Number
    entry_price_avg: Number
    isolated_margin_usdt: Number
    unrealized_pnl_usdt: Number
    realized_pnl_usdt: Number
    roe: Number
    mark: Number
    add_on_count: int
    sl_price: Number | None
    sl_level: int
    seq: int
    ts: Ts


class Stop(Answer):
    """The live stop. `client_order_id` is empty if S6 itself guards the price."""

    k: int
    price: Number
    qty: Number
    client_order_id: str
    ts: Ts


class LadderRung(Answer):
    """S6 takes profit on `fraction` of what is held once the ROE reaches `roe`."""

    roe: Number
    fraction: Number


class Ladder(Answer):
    """The take-profit ladder, and the indexes of the rungs already taken."""

    ladder: list[LadderRung]
    done: list[int]
    ts: Ts


class Adds(Answer):
    """Add-ons that filled."""

    count: int
    qty: Number
    ts: Ts
    signal_id: str


class OperationView(Answer):
    """The operation in flight."""

    op_id: str
    kind: str
    stage: str
    intent: str
    started_ts: Ts
    attempts: int


class PositionDetail(Answer):
    """Everything about one position. A part that does not exist is null."""

    state: PositionState
    stop: Stop | None
    ladder: Ladder | None
    adds: Adds | None
    operation: OperationView | None


class Snapshot(Answer):
    """One step of a position's life, as the store keeps it."""

    position_id: str
    seq: int
    phase: Phase
    symbol: str
    market: Market
    side: Side
    qty: Number
    status: PositionStatus
    paused: bool
    cause: str
    ts: Ts
