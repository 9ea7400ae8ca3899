"""What the simulated exchange keeps: orders and positions, by the wire's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from s6.model.types import TERMINAL, ZERO

OPENING: Final = ("ENTRY", "ADD")
STEP: Final = Decimal("0.001")
MIN_NOTIONAL: Final = Decimal(5)


@dataclass(slots=True)
class XOrder:
    """An order at the exchange. ``life`` is the position's when it came; ``wire_id`` is the client id that results bear
    where it is not ``client_order_id``; ``news_ts`` is when it last changed."""

    client_order_id: str
    intent_id: str
    position_id: str
    symbol: str
    market: str
    kind: str
    side: str
    type: str
    qty: Decimal
    reduce_only: bool
    stop_px: Decimal | None
    ts: int
    life: int
    ours: bool
    status: str = "NEW"
    reason: str = ""
    filled: Decimal = ZERO
    cost: Decimal = ZERO
    fee: Decimal = ZERO
    working: bool = False
    cancelling: bool = False
    first_fill_ts: int = 0
    news_ts: int = 0
    order_id: str = ""
    wire_id: str | None = None
    figures: dict[str, str] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        return self.status not in TERMINAL

    @property
    def remaining(self) -> Decimal:
        return self.qty - self.filled if self.live else ZERO

    @property
    def opens(self) -> bool:
        return self.kind in OPENING


@dataclass(slots=True)
class XPosition:
    """A position at the exchange; ``taken`` is the margin (SPOT: cost) that this life's opening fills took, ``by_add``
    whether an add that came after a close began it."""

    position_id: str
    symbol: str
    market: str
    side: str
    leverage: Decimal
    life: int = 0
    qty: Decimal = ZERO
    entry: Decimal = ZERO
    margin: Decimal = ZERO
    taken: Decimal = ZERO
    realized: Decimal = ZERO
    q0: Decimal = ZERO
    added: Decimal = ZERO
    adds: int = 0
    by_add: bool = False
    changed_ts: int = 0
    closed_ts: int = 0
    opened_ts: int = 0
    trail: list[tuple[int, Decimal]] = field(default_factory=list)

    @property
    def dir(self) -> int:
        return 1 if self.side == "LONG" else -1

    @property
    def closing_side(self) -> str:
        return "SELL" if self.side == "LONG" else "BUY"

    def most_held_since(self, ts: int) -> Decimal:
        """The largest quantity held at any time from ``ts`` on."""
        most = self.qty
        for when, qty in reversed(self.trail):
            most = max(most, qty)
            if when < ts:
                break
        return most

    def held_since(self, ts: int) -> list[Decimal]:
        """What was held at ``ts`` and whatever has been held since."""
        before = [qty for when, qty in self.trail if when < ts][-1:]
        return [*before, *(qty for when, qty in self.trail if when >= ts)]
