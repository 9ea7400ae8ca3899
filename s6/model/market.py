"""A market as S6 knows it: the newest tick and the newest features."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from s6.model.types import ZERO, Side


@dataclass(frozen=True, slots=True)
class Tick:
    """One entry of ``mkt:SYMBOL``. Prices are in quote currency, ``ts`` is in ms; a side of 0 is an empty book."""

    ts: int
    mark: Decimal
    bid: Decimal
    ask: Decimal

    @property
    def mid(self) -> Decimal | None:
        """The middle of the book, or None if a side is empty or the sides are more than 2 % apart."""
        if not self.bid or not self.ask or abs(self.ask - self.bid) * 100 > self.ask + self.bid:
            return None
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class Features:
    """The fold of ``feat:events:SYMBOL``: a signal stands until the next one or its TTL."""

    ts: int = 0
    atr: Decimal = ZERO
    regime: str = ""
    signal: str = ""
    signal_id: str = ""
    signal_ts: int = 0


@dataclass(frozen=True, slots=True)
class Extremes:
    """The highest and lowest mark of the ticks that crossed a trigger since the last evaluation, and their times.

    Times are when S6 read the ticks, in ms. ``number`` distinguishes versions.
    """

    high: Decimal
    high_ts: int
    low: Decimal
    low_ts: int
    number: int = 0

    def best(self, side: Side) -> tuple[Decimal, int]:
        """Return the most favourable mark for a position of that side, and when S6 read it (ms)."""
        return (self.high, self.high_ts) if side == "LONG" else (self.low, self.low_ts)

    def worst(self, side: Side) -> tuple[Decimal, int]:
        """Return the least favourable mark for a position of that side, and when S6 read it (ms)."""
        return (self.low, self.low_ts) if side == "LONG" else (self.high, self.high_ts)

    @property
    def ts(self) -> int:
        """The time when S6 read the newer of both (ms)."""
        return max(self.high_ts, self.low_ts)


@dataclass(frozen=True, slots=True)
class MarketView:
    """The market as one evaluation sees it. ``tick`` is None until the first one arrives."""

    symbol: str
    tick: Tick | None = None
    features: Features = Features()
    extremes: Extremes | None = None
