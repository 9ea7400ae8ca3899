"""Candles: reads them from CSV files, interpolates prices within them, repeats them without end."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from pathlib import Path

from s6.paper.domain import EXACT

_NAMES = ("timestamp", "open", "high", "low", "close", "volume")
_KLINE_COLUMNS = 12
_MILLIS, _MICROS = 10**12, 10**15  # the smallest time stamps taken for ms (2001) and for µs


class CandleError(ValueError):
    """A candle file is unusable; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle. `ts` is its opening time in ms; prices are in quote currency."""

    ts: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal

    def price_at(self, fraction: float) -> Decimal:
        """Return the price after `fraction` (0 to 1) of its time, on straight lines between its four prices.

        A rising candle goes to the low first, a falling one to the high: the usual guess, as the order is not recorded.
        """
        first, second = (self.low, self.high) if self.close >= self.open else (self.high, self.low)
        points = (self.open, first, second, self.close)
        leg = min(2, int(fraction * 3))
        along = Decimal(repr(fraction * 3 - leg))
        return points[leg] + (points[leg + 1] - points[leg]) * along

    def scaled(self, factor: Decimal, ts: int) -> "Candle":
        """Return the same shape at another level and time."""
        with localcontext(EXACT):
            return Candle(ts, *(factor * price for price in (self.open, self.high, self.low, self.close)))


def read_candles(path: Path) -> list[Candle]:
    """Read the candles of a CSV file, oldest first.

    The file has one of two forms: `timestamp,open,high,low,close,volume` with a header (other columns are ignored), or
    Binance's public klines, twelve columns with or without a header. Times are ms or µs since the epoch. Raises
    `CandleError` naming the file and the line of the first fault.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    columns = dict(zip(_NAMES, range(len(_NAMES)), strict=True))
    if rows and not _is_number(rows[0][1][0]):
        columns = _columns(path, rows.pop(0)[1])
    elif rows and len(rows[0][1]) != _KLINE_COLUMNS:
        raise CandleError(f"{path}: a header or the twelve columns of a kline file are wanted")
    candles: list[Candle] = []
    for number, row in rows:
        candles.append(_candle(f"{path}, line {number}", row, columns, candles[-1].ts if candles else 0))
    if len(candles) < 2:
        raise CandleError(f"{path}: two candles or more are wanted")
    return candles


def endless(candles: Sequence[Candle]) -> Iterator[Candle]:
    """Yield the candles again and again. Each lap is scaled and shifted to begin where the one before ended."""
    step = candles[1].ts - candles[0].ts
    lap_ms = candles[-1].ts + step - candles[0].ts
    factor, shift = Decimal(1), 0
    while True:
        for candle in candles:
            yield candle if shift == 0 else candle.scaled(factor, candle.ts + shift)
        with localcontext(EXACT):
            factor = factor * candles[-1].close / candles[0].open
        shift += lap_ms


def _columns(path: Path, header: list[str]) -> dict[str, int]:
    names = [name.strip().lower().replace("open_time", "timestamp") for name in header]
    if missing := [name for name in _NAMES if name not in names]:
        raise CandleError(f"{path}: the header lacks {', '.join(missing)}")
    return {name: names.index(name) for name in _NAMES}


def _candle(where: str, row: list[str], columns: dict[str, int], before: int) -> Candle:
    if len(row) <= max(columns.values()):
        raise CandleError(f"{where}: {len(row)} columns only")
    ts = _time(where, row[columns["timestamp"]])
    if ts <= before:
        raise CandleError(f"{where}: its time is not after the one before")
    candle = Candle(ts, *(_price(where, name, row[columns[name]]) for name in ("open", "high", "low", "close")))
    if not candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high:
        raise CandleError(f"{where}: open and close do not lie between low and high")
    return candle


def _time(where: str, text: str) -> int:
    if not text.strip().isdigit() or int(text) < _MILLIS:
        raise CandleError(f"{where}: {text!r} is no time in ms or µs since the epoch")
    return int(text) // 1000 if int(text) >= _MICROS else int(text)


def _price(where: str, name: str, text: str) -> Decimal:
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise CandleError(f"{where}: {name} {text!r} is not a number") from None
    if not price.is_finite() or price <= 0:
        raise CandleError(f"{where}: {name} {text!r} is not above 0")
    return price


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()
