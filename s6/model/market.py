"""What S6 knows of a market: the newest tick, the newest features."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from s6.model.types import ZERO, Side


@dataclass(frozen=True, slots=True)
class Tick:
    """One entry of ``mkt:SYMBOL``. Prices in quote currency, ``ts`` in ms."""

    ts: int
    mark: Decimal
    bid: Decimal
    ask: Decimal

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class Features:
    """What ``feat:events:SYMBOL`` says, folded: a signal stands until the next one (or its TTL)."""

    ts: int = 0
    atr: Decimal = ZERO
    regime: str = ""
    signal: str = ""
    signal_id: str = ""
    signal_ts: int = 0


@dataclass(frozen=True, slots=True)
class Extremes:
    """Highest and lowest mark of the ticks that crossed something since the last evaluation, and when they were read.

    ``number`` tells versions apart.
    """

    high: Decimal
    high_ts: int
    low: Decimal
    low_ts: int
    number: int = 0

    def best(self, side: Side) -> tuple[Decimal, int]:
        """The most favourable mark for a position of that side, and when it was read."""
        return (self.high, self.high_ts) if side == "LONG" else (self.low, self.low_ts)

    def worst(self, side: Side) -> tuple[Decimal, int]:
        """The least favourable mark, and when it was read."""
        return (self.low, self.low_ts) if side == "LONG" else (self.high, self.high_ts)

    @property
    def ts(self) -> int:
        """When the newest of both was read."""
        return max(self.high_ts, self.low_ts)


@dataclass(frozen=True, slots=True)
class MarketView:
    """What one evaluation sees of a symbol. ``tick`` None: nothing heard yet."""

    symbol: str
    tick: Tick | None = None
    features: Features = Features()
    extremes: Extremes | None = None
