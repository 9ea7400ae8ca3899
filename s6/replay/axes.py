"""Places the ticks of an axis at round numbers and round times. Pure; floats suffice for geometry."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_TIME_STEPS: Final = (
    *(n for n in (10, 20, 50, 100, 200, 500)),
    *(n * _SECOND for n in (1, 2, 5, 10, 15, 30)),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 7, 14, 28, 91, 182, 364)),
)


def value_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most ``most`` + 1 multiples of 1, 2, 2.5 or 5 times a power of ten, within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999_999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float, ticks: list[float]) -> str:
    """Format a tick with enough decimals to distinguish it from the others: ``41 250``, ``0.075``."""
    step = min((abs(b - a) for a, b in pairwise(ticks)), default=abs(value) or 1.0)
    places = next((p for p in range(12) if abs(round(step, p) - step) < step * 1e-6), 12)
    if not value:
        return "0"
    return f"{value:,.{places}f}".replace(",", " ").replace("-", "−")


def time_ticks(start: int, end: int, most: int = 8) -> list[tuple[int, str]]:
    """Return (ms, label) at round UTC times within [start, end]; a label shows only the units that change."""
    step = next((s for s in _TIME_STEPS if (end - start) / s <= most), _TIME_STEPS[-1])
    first = -(-start // step) * step
    return [(ts, _time_label(ts, step)) for ts in range(first, end + 1, step)]


def _time_label(ts: int, step: int) -> str:
    at = datetime.fromtimestamp(ts // 1000, UTC)
    if step >= _DAY:
        return f"{at:%d %b}"
    if step >= _MINUTE:
        return f"{at:%d %b}" if ts % _DAY == 0 else f"{at:%H:%M}"
    if step >= _SECOND:
        return f"{at:%H:%M:%S}"
    return f"{at:%H:%M:%S}.{ts % 1000:03d}"
