"""What one result comes to: the value that the steps of booking hand on."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from s6.model.commit import QuotaMove
from s6.model.position import Order, Position
from s6.model.types import ZERO, Severity

Warned = tuple[Severity, str, str]
"""An alert in the making: severity, code, detail."""


@dataclass(frozen=True, slots=True)
class SymbolTerms:
    """What is known of the symbol's lattice. ``step`` None: it is unknown, and only exactly 0 counts as flat."""

    step: Decimal | None = None
    mmr: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """What came of a result: the books after it, and what others must hear of it.

    ``increment`` and ``price`` are the fill's own; ``opened`` and ``closed`` say that the result began or ended a life.
    """

    position: Position
    order: Order
    increment: Decimal = ZERO
    price: Decimal = ZERO
    opened: bool = False
    closed: bool = False
    events: tuple[dict[str, str], ...] = ()
    quotas: tuple[QuotaMove, ...] = ()
    warnings: tuple[Warned, ...] = ()
