"""What the neighbours answer, as values."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple


class Placed(NamedTuple):
    """S4 answered 200: the order is accepted."""

    status: str


class Refused(NamedTuple):
    """S4 refused for good: 422 (its reason), 409 (``ID_CONFLICT``) or another 4xx (``HTTP_nnn``)."""

    reason: str


class CancelAnswer(NamedTuple):
    """``PENDING`` (202), ``UNKNOWN`` (404), or the terminal status of a 409; another 4xx: ``REFUSED``."""

    status: str


class Balances(NamedTuple):
    spot_free: Decimal
    fut_free: Decimal


class TransferAnswer(NamedTuple):
    status: Literal["EXECUTED", "FAILED"]
    tx_id: str
    reason: str
