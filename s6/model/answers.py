"""The neighbours' answers as values."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple


class Placed(NamedTuple):
    """S4 answered 200: the order is accepted."""

    status: str


class Refused(NamedTuple):
    """S4 refused for good. ``reason`` is S4's own for 422, ``ID_CONFLICT`` for 409, ``HTTP_nnn`` for another 4xx."""

    reason: str


class CancelAnswer(NamedTuple):
    """``status`` is ``PENDING`` (202), ``UNKNOWN`` (404), ``REFUSED`` (other 4xx), or the terminal status of a 409."""

    status: str


class Balances(NamedTuple):
    """What is free in each wallet. ``ts`` (ms) is when S1 read it."""

    spot_free: Decimal
    fut_free: Decimal
    ts: int


class TransferAnswer(NamedTuple):
    status: Literal["EXECUTED", "FAILED"]
    tx_id: str
    reason: str
