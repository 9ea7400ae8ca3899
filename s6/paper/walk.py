"""A seeded, endless random walk in one-minute candles: calm, usual and wild spells with trends."""

import random
from collections.abc import Iterator
from decimal import Decimal

from s6.paper.candles import Candle

_MINUTE_MS = 60_000
_START_TS = 1_700_000_000_000
_STEPS = 12  # per candle
_SPELLS = (0.0006, 0.0011, 0.0022)  # standard deviation of a minute's return
_SWITCH = 0.04  # probability that a minute begins another spell
_TREND = 0.35  # at most this part of a minute's standard deviation
_PULL = 0.0008  # per minute, back towards the first level

LEVELS: dict[str, Decimal] = {"BTCUSDT": Decimal(40_000), "ETHUSDT": Decimal(2_500), "SOLUSDT": Decimal(100)}


def random_walk(symbol: str, seed: int | str) -> Iterator[Candle]:
    """Yield candles without end, from `LEVELS[symbol]` or 100. The same symbol and seed give the same candles.

    The random draws are floats; one conversion per step makes a price of them.
    """
    draw = random.Random(f"{symbol}:{seed}")
    level = price = LEVELS.get(symbol, Decimal(100))
    deviation, trend = draw.choice(_SPELLS), 0.0
    ts = _START_TS
    while True:
        if draw.random() < _SWITCH:
            deviation = draw.choice(_SPELLS)
            trend = draw.uniform(-_TREND, _TREND) * deviation
        pull = _PULL * float((level - price) / level)
        prices = [price]
        for _ in range(_STEPS):
            move = (trend + pull) / _STEPS + draw.gauss(0, deviation / _STEPS**0.5)
            prices.append(round(prices[-1] * (1 + Decimal(repr(move))), 8))
        price = prices[-1]
        yield Candle(ts, prices[0], max(prices), min(prices), price)
        ts += _MINUTE_MS
