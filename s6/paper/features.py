"""S2 on paper: average true range, volatility regime and a momentum signal, candle by candle."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from s6.paper.candles import Candle

_ATR_SPAN = 14
_TREND_SPAN = 8
_MEMORY = 240
_DEAD_ZONE = Decimal("0.25")  # part of the range: within this distance of the mean there is no signal

Signal = Literal["LONG", "SHORT", "NONE"]
Regime = Literal["LOW", "NORMAL", "HIGH"]


@dataclass(frozen=True, slots=True)
class Features:
    """One message of S2. `atr` is in price units; `regime` is the range's tercile among the last four hours."""

    atr: Decimal
    regime: Regime
    signal: Signal


class FeatureMaker:
    """Computes features from candles: Wilder's average true range, and the close against its exponential mean."""

    def __init__(self) -> None:
        self._atr: Decimal | None = None
        self._mean: Decimal | None = None
        self._close: Decimal | None = None
        self._ranges: deque[Decimal] = deque(maxlen=_MEMORY)

    def take(self, candle: Candle) -> Features:
        """Take in `candle`. Returns the features after it."""
        before = candle.open if self._close is None else self._close
        true_range = max(candle.high, before) - min(candle.low, before)
        self._atr = true_range if self._atr is None else (self._atr * (_ATR_SPAN - 1) + true_range) / _ATR_SPAN
        mean = candle.close if self._mean is None else self._mean
        self._mean = mean + (candle.close - mean) * 2 / (_TREND_SPAN + 1)
        self._close = candle.close
        self._ranges.append(self._atr / candle.close)
        return Features(round(self._atr, 8), self._regime(), self._signal(candle.close - self._mean))

    def _regime(self) -> Regime:
        rank = bisect_left(sorted(self._ranges), self._ranges[-1])
        share = 3 * rank // len(self._ranges)
        return ("LOW", "NORMAL", "HIGH")[min(share, 2)]

    def _signal(self, distance: Decimal) -> Signal:
        if self._atr is None or abs(distance) <= _DEAD_ZONE * self._atr:
            return "NONE"
        return "LONG" if distance > 0 else "SHORT"
