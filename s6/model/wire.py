"""Entries of the streams S6 reads, validated. Fields the contract doesn't name are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from s6.model.market import Features, Tick
from s6.model.types import Market, OrderKind, OrderSide, OrderType, ResultStatus


class MalformedMessage(ValueError):
    """A message that isn't what the contract says; the text names each field and what is wrong with it."""


def _blank_is_absent(value: object) -> object:
    return None if value == "" else value


def _decimal_text(value: object) -> object:
    if isinstance(value, float | bool):
        raise ValueError("must be a decimal string")
    return value


Dec = Annotated[Decimal, BeforeValidator(_decimal_text), Field(allow_inf_nan=False, max_digits=60)]
Positive = Annotated[Dec, Field(gt=0)]
NotNegative = Annotated[Dec, Field(ge=0)]
Ts = Annotated[int, Field(ge=0, le=10**15)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,24}$")]
PositionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
OptionalPositive = Annotated[Positive | None, BeforeValidator(_blank_is_absent)]
OptionalNotNegative = Annotated[NotNegative | None, BeforeValidator(_blank_is_absent)]
OptionalDec = Annotated[Dec | None, BeforeValidator(_blank_is_absent)]

M = TypeVar("M", bound=BaseModel)


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=False)

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> Self:
        """The message in those fields, or ``MalformedMessage``."""
        try:
            return cls.model_validate(dict(fields))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in error.errors())
            raise MalformedMessage(faults) from None


class OrderResult(_Message):
    """One entry of ``ord:result:SYMBOL``, or S4's answer about one order, which has the same fields."""

    ts: Ts
    symbol: Symbol
    market: Market
    position_id: PositionId
    client_order_id: Annotated[str, Field(min_length=1, max_length=128)]
    intent_id: str = ""
    kind: OrderKind
    side: OrderSide
    type: OrderType
    status: ResultStatus
    qty: Positive
    filled_qty: Annotated[NotNegative, Field(default=Decimal(0))]
    avg_price: OptionalNotNegative = None
    fee: OptionalDec = None
    reason: str = ""
    leverage: OptionalPositive = None
    isolated_margin_usdt: OptionalNotNegative = None
    liq_price: OptionalNotNegative = None

    @model_validator(mode="before")
    @classmethod
    def _absent(cls, data: dict[str, object]) -> dict[str, object]:
        if isinstance(data, dict) and data.get("filled_qty") in ("", None):
            data = {**data, "filled_qty": "0"}
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.filled_qty > self.qty:
            raise ValueError("filled_qty must not exceed qty")
        if self.filled_qty > 0 and not self.avg_price:
            raise ValueError("avg_price is required once something is filled, and above 0")
        if self.status == "FILLED" and self.filled_qty == 0:
            raise ValueError("filled_qty must be above 0 when status is FILLED")
        if self.market == "SPOT" and self.kind == "ENTRY" and self.side == "SELL":
            raise ValueError("side must be BUY for an ENTRY on SPOT")
        return self


class TickMessage(_Message):
    """One entry of ``mkt:SYMBOL``."""

    ts: Ts
    mark: Positive
    bid: Positive
    ask: Positive

    def tick(self) -> Tick:
        return Tick(ts=self.ts, mark=self.mark, bid=self.bid, ask=self.ask)


class FeatureMessage(_Message):
    """One entry of ``feat:events:SYMBOL``."""

    ts: Ts
    atr: NotNegative
    regime: Annotated[str, Field(max_length=64)]
    signal: Annotated[str | None, Field(pattern=r"^(LONG|SHORT|NONE)$"), BeforeValidator(_blank_is_absent)] = None
    signal_id: Annotated[str, Field(max_length=256)] = ""

    @model_validator(mode="after")
    def _signal_named(self) -> Self:
        if self.signal in ("LONG", "SHORT") and not self.signal_id:
            raise ValueError("signal_id is required with a signal")
        return self

    def fold(self, known: Features) -> Features:
        """What is known after this message. What came late may still hold the newest signal: that stands until the
        next one."""
        told = self.signal is not None and not (self.signal_id and self.signal_id == known.signal_id)
        if told and self.ts >= known.signal_ts:
            known = replace(known, signal=self.signal or "", signal_id=self.signal_id, signal_ts=self.ts)
        if self.ts < known.ts:
            return known
        return replace(known, ts=self.ts, atr=self.atr, regime=self.regime)
