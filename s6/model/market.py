"""What S6 knows of a market: the newest tick, the newest features."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from s6.model.types import ZERO


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
