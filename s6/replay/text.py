"""Formats numbers and times for people."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from s6.model.types import plain
from s6.replay.fold import Fill, Step

NONE: Final = "–"
_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)


def number(value: Decimal | None, places: int = 8) -> str:
    """Format in groups of three digits with at most ``places`` decimals: ``41 250.5``."""
    if value is None:
        return NONE
    text = plain(value.quantize(Decimal(1).scaleb(-places), context=_WIDE))
    sign, digits = ("−", text[1:]) if text.startswith("-") else ("", text)
    whole, point, rest = digits.partition(".")
    return f"{sign}{int(whole):,}".replace(",", " ") + point + rest


def money(value: Decimal, *, signed: bool = True) -> str:
    """Format USDT to the cent: ``+12.50``."""
    rounded = value.quantize(Decimal("0.01"), context=_WIDE)
    if not rounded:
        return "0.00"
    whole, _, cents = format(abs(rounded), "f").partition(".")
    sign = "−" if rounded < 0 else "+" if signed else ""
    return f"{sign}{int(whole):,}".replace(",", " ") + f".{cents}"


def percent(value: Decimal) -> str:
    """Format a ratio as a percentage: ``+12.5 %``."""
    rounded = (value * 100).quantize(Decimal("0.1"), context=_WIDE)
    sign = "−" if rounded < 0 else "+" if rounded else ""
    return f"{sign}{format(abs(rounded), 'f')} %"


def moment(ts: int) -> str:
    """Format a time (ms) in UTC: ``2024-05-01 12:00:00.250``."""
    return f"{_utc(ts):%Y-%m-%d} {clock(ts)}"


def clock(ts: int) -> str:
    return f"{_utc(ts):%H:%M:%S}.{ts % 1000:03d}"


def duration(ms: int) -> str:
    """Format a duration (ms) in its two greatest units: ``3 d 4 h``, ``12 min 5 s``, ``0.25 s``."""
    if ms < 60_000:
        return f"{number(Decimal(ms) / 1000, 2)} s"
    minutes, seconds = divmod(ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next(i for i, (count, _) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count)


def describe_fill(fill: Fill) -> str:
    """Describe a fill: ``TP 0.033 at 42 100``."""
    return f"{fill.kind} {number(fill.qty)} at {number(fill.price)}"


def what(step: Step) -> str:
    """Describe a step by its fill, or by its cause if it has no fill."""
    return describe_fill(step.fill) if step.fill else step.cause


def _utc(ts: int) -> datetime:
    return datetime.fromtimestamp(ts // 1000, UTC)
