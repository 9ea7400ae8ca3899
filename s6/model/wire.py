"""Messages that S6 reads, taken apart. Fields that the contract doesn't name are ignored.

``read`` is the way in: text must be UTF-8, numbers must be of a size, a time must not lie ahead of the clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from s6.model.market import Features, Tick
from s6.model.numbers import Fault, number
from s6.model.order_figures import LONGEST_ID, understood
from s6.model.types import Market, OrderKind, OrderSide, OrderType, ResultStatus


class MalformedMessage(ValueError):
    """A message that isn't what the contract says. The text names each field and what is wrong with it."""


class SideConflict(MalformedMessage):
    """An opening fill against an open position of the other side."""


NOT_UTF8: Final = re.compile("[\ud800-\udfff]")
"""What undecodable bytes become when they are decoded with ``surrogateescape``."""


def _blank_is_absent(value: object) -> object:
    return None if value == "" else value


def _exact(value: object) -> Decimal:
    try:
        return number(value)
    except Fault as fault:
        raise ValueError(str(fault)) from None


Dec = Annotated[Decimal, BeforeValidator(_exact)]
Positive = Annotated[Dec, Field(gt=0)]
NotNegative = Annotated[Dec, Field(ge=0)]
Ts = Annotated[int, Field(ge=0, le=10**15)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,24}$")]
PositionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
OptionalNotNegative = Annotated[NotNegative | None, BeforeValidator(_blank_is_absent)]


class Message(BaseModel):
    """What all messages share: the way in. Unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=False)

    @classmethod
    def read(cls, fields: Mapping[str, Any], *, latest: int | None = None) -> Self:
        """Return the message in those fields. ``latest``: the latest ``ts`` (ms) that the clock allows; None: any.

        Raises ``MalformedMessage``.
        """
        for name, value in fields.items():
            if NOT_UTF8.search(name) or (isinstance(value, str) and NOT_UTF8.search(value)):
                raise MalformedMessage(f"{printable(name)}: must be UTF-8 text")
        try:
            message = cls.model_validate(dict(fields))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in error.errors())
            raise MalformedMessage(faults) from None
        ts: int = getattr(message, "ts", 0)
        if latest is not None and ts > latest:
            raise MalformedMessage(f"ts: {ts} lies {ts - latest} ms further ahead of the clock than is allowed")
        return message


def printable(text: str) -> str:
    """Return the text with undecodable bytes, and halves of characters, shown as escapes (``\\xff``)."""
    return NOT_UTF8.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(code: int) -> str:
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


class OrderResult(Message):
    """One entry of ``ord:result:SYMBOL``, or S4's answer about one order, which has the same fields.

    ``odd`` names the figures that could not be what they say and count as absent; ``guessed`` names the words
    (status, type) that the contract doesn't know, with what they are taken for.
    """

    ts: Ts
    symbol: Symbol
    market: Market
    position_id: PositionId
    client_order_id: Annotated[str, Field(max_length=LONGEST_ID)] = ""
    order_id: Annotated[str, Field(max_length=LONGEST_ID)] = ""
    intent_id: str = ""
    kind: OrderKind
    side: OrderSide
    type: OrderType
    status: ResultStatus
    qty: NotNegative
    filled_qty: NotNegative = Decimal(0)
    avg_price: Decimal | None = None
    fee: Decimal | None = None
    fee_qty: Decimal | None = None
    reason: str = ""
    leverage: Decimal | None = None
    isolated_margin_usdt: Decimal | None = None
    liq_price: Decimal | None = None
    odd: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _understood(cls, data: Mapping[str, object]) -> dict[str, object]:
        return understood(data)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.client_order_id and not self.order_id:
            raise ValueError("client_order_id or order_id is required")
        if self.status == "FILLED" and self.filled_qty == 0:
            raise ValueError("filled_qty must be above 0 when status is FILLED")
        if self.market == "SPOT" and self.kind == "ENTRY" and self.side == "SELL":
            raise ValueError("side must be BUY for an ENTRY on SPOT")
        return self


def carries_fill(fields: Mapping[str, object]) -> bool:
    """Return whether a result that cannot be read speaks of something filled, however oddly."""
    filled, status = str(fields.get("filled_qty", "")), str(fields.get("status", "")).upper()
    return "FILLED" in status or (not filled.lstrip().startswith("-") and bool(re.search("[1-9∞]|inf", filled, re.I)))


class TickMessage(Message):
    """One entry of ``mkt:SYMBOL``. A side of the book that is 0 or absent is empty."""

    ts: Ts
    mark: Positive
    bid: OptionalNotNegative = None
    ask: OptionalNotNegative = None

    def tick(self) -> Tick:
        return Tick(ts=self.ts, mark=self.mark, bid=self.bid or Decimal(0), ask=self.ask or Decimal(0))


class Wallet(Message):
    """One wallet of S1's balances; FUT may be below 0."""

    free: Dec


class BalancesMessage(Message):
    """S1's answer about balances."""

    ts: Ts
    spot: Annotated[Wallet, Field(alias="SPOT")]
    fut: Annotated[Wallet, Field(alias="FUT")]


class FeatureMessage(Message):
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
        """Return what is known after this message.

        A late message may still hold the newest signal: that signal stands until the next one.
        """
        told = self.signal is not None and not (self.signal_id and self.signal_id == known.signal_id)
        if told and self.ts >= known.signal_ts:
            known = replace(known, signal=self.signal or "", signal_id=self.signal_id, signal_ts=self.ts)
        if self.ts < known.ts:
            return known
        return replace(known, ts=self.ts, atr=self.atr, regime=self.regime)


class BundleEvent(Message):
    """One message on ``cfg:events``: S10 has published a version."""

    ts: Ts = 0
    version: Annotated[str, Field(min_length=1, max_length=256)]


class HealthKey(Message):
    """What S11 says of a service in ``prod:health:SERVICE``."""

    ts: Ts = 0
    status: Literal["OK", "DEGRADED", "DOWN"]
