"""The names that all of S6 shares, spelt as the wire contract spells them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, Literal

Market = Literal["FUT", "SPOT"]
Side = Literal["LONG", "SHORT"]
OrderSide = Literal["BUY", "SELL"]
OrderType = Literal["MARKET", "LIMIT", "STOP_MARKET"]
OrderKind = Literal["ENTRY", "SL", "TP", "ADD", "REDUCE", "EXIT", "GUARD"]
OrderStatus = Literal["PENDING", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED", "ABANDONED"]
ResultStatus = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED", "CANCEL_REJECTED"]
PositionStatus = Literal["OPEN", "CLOSED"]
Phase = Literal["BEFORE", "AFTER", "RESULT"]
EventType = Literal["ENTRY", "EXIT", "ADD", "STOP_MOVE", "TP_PARTIAL", "STAGNATED", "RISK_DOWNGRADE"]
Mode = Literal["NORMAL", "RISK_REDUCTION_ONLY"]
Severity = Literal["WARN", "ERROR", "FATAL"]

NEIGHBOURS: Final = ("s1", "s4", "s10", "s12")
"""The services that S6 calls."""
SERVICES: Final = ("ws", "s1", "s2", "s3", "s4", "s10", "s11")
"""The services whose health S11 reports."""

UNHEARD: Final[frozenset[str]] = frozenset({"PENDING", "ABANDONED"})
"""The statuses that S6 itself gives an order of which S4 has said nothing."""
TERMINAL: Final[frozenset[str]] = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED", "ABANDONED"})
OPENING_KINDS: Final[frozenset[str]] = frozenset({"ENTRY", "ADD"})
ZERO: Final = Decimal(0)

SYMBOL = re.compile(r"[A-Z0-9]{2,24}")
POSITION_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")


def opening_side(side: Side) -> OrderSide:
    """Return the side of an order that enlarges a position of this side."""
    return "BUY" if side == "LONG" else "SELL"


def closing_side(side: Side) -> OrderSide:
    """Return the side of an order that reduces a position of this side."""
    return "SELL" if side == "LONG" else "BUY"


def plain(value: Decimal) -> str:
    """Return a decimal as the wire writes it, without exponent or trailing zeros (``44000``, ``0.001``)."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
