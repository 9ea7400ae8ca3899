"""The request bodies of S4, S1 and S12, validated as strictly as the real services do, and their answers."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from s6.paper.domain import Kind, Market, OrderSide, OrderType, Position

PositionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
ClientOrderId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,36}$")]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,24}$")]
Amount = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class OrderRequest(_Body):
    """The body of `POST /orders`."""

    intent_id: Word
    client_order_id: ClientOrderId
    position_id: PositionId
    symbol: Symbol
    market: Market
    kind: Kind
    side: OrderSide
    type: OrderType
    qty: Amount
    stop_px: Annotated[Amount | None, Field(alias="stopPx")] = None
    price: Amount | None = None
    reduce_only: Annotated[bool, Field(alias="reduceOnly", strict=True)]

    @model_validator(mode="after")
    def _consistent(self) -> "OrderRequest":
        if (self.type == "STOP_MARKET") != (self.stop_px is not None):
            raise ValueError("stopPx goes with STOP_MARKET, and only with it")
        if (self.type == "LIMIT") != (self.price is not None):
            raise ValueError("price goes with LIMIT, and only with it")
        if (self.kind == "SL") != (self.type == "STOP_MARKET"):
            raise ValueError("kind SL is a STOP_MARKET, and only SL is")
        if self.kind in {"TP", "REDUCE", "EXIT", "ADD", "GUARD"} and self.type != "MARKET":
            raise ValueError(f"kind {self.kind} is a MARKET order")
        closing = self.kind not in {"ENTRY", "ADD"}
        if self.reduce_only != (closing and self.market == "FUT"):
            raise ValueError("reduceOnly is true for closing orders on FUT, and only for them")
        if self.market == "SPOT" and (self.side == "SELL") != closing:
            raise ValueError("on SPOT, ENTRY and ADD buy and all else sells")
        return self


def by_hand(position: Position, qty: Decimal, reason: str, number: str) -> OrderRequest:
    """Return a closing market order that S6 did not send: `MANUAL` by an operator, `LIQUIDATION` and `ADL` by the
    exchange."""
    return OrderRequest(
        intent_id=f"{reason.lower()}-{number}",
        client_order_id=f"{reason[:3]}-{number}-{position.position_id}"[:36].replace(".", "_"),
        position_id=position.position_id,
        symbol=position.symbol,
        market=position.market,
        kind="EXIT" if qty >= position.qty else "REDUCE",
        side=position.closing_side,
        type="MARKET",
        qty=qty,
        reduce_only=position.market == "FUT",
    )


class CancelRequest(_Body):
    """The body of `POST /cancel`."""

    intent_id: Word
    client_order_id: ClientOrderId
    position_id: PositionId
    symbol: Symbol


class TransferRequest(_Body):
    """The body of `POST /xchg/treasury/transfer`."""

    transfer_id: Word
    source: Annotated[Literal["SPOT", "FUT"], Field(alias="from")]
    to: Literal["SPOT", "FUT"]
    asset: Literal["USDT"]
    amount: Amount


class ApprovalRequest(_Body):
    """The body of `POST /approvals`."""

    transfer_id: Word
    source: Annotated[Literal["SPOT", "FUT"], Field(alias="from")]
    to: Literal["SPOT", "FUT"]
    asset: Literal["USDT"]
    amount: Amount
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A neighbour's answer: HTTP status, JSON body (None: empty) and headers besides the usual ones."""

    status: int
    body: object = None
    headers: tuple[tuple[str, str], ...] = ()
    raw: str | None = None
