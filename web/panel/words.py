"""Jinja filters that format figures for people."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from flask import Flask

NOTHING = "–"


def number(value: object, decimals: int = 8) -> str:
    """Format with at most ``decimals`` decimals and grouped thousands: ``43,250.5``."""
    exact = _decimal(value)
    if exact is None:
        return NOTHING
    text = f"{exact:,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")


def price(value: object) -> str:
    """Format a price with decimals according to its size: ``43,250.5``, ``2.4512``, ``0.00001234``."""
    exact = _decimal(value)
    if exact is None:
        return NOTHING
    return number(exact, 2 if abs(exact) >= 1000 else 4 if abs(exact) >= 10 else 8)


def money(value: object) -> str:
    """Format with two decimals and a sign: ``+1,406.67``."""
    exact = _decimal(value)
    return NOTHING if exact is None else f"{exact:+,.2f}".replace("-", "−")


def percent(value: object, decimals: int = 2) -> str:
    """Format a ratio as a percentage with its sign: 0.0512 is ``+5.12 %``."""
    exact = _decimal(value)
    return NOTHING if exact is None else f"{exact * 100:+.{decimals}f} %".replace("-", "−")


def share(value: object) -> str:
    """Format a ratio between 0 and 1 as a percentage: ``99.4 %``. Only 1 itself becomes 100 %."""
    exact = _decimal(value)
    if exact is None:
        return NOTHING
    shown = exact * 100
    if Decimal("99.9") < shown < 100:
        shown = Decimal("99.9")
    return f"{shown:.1f} %".replace(".0 %", " %")


def seconds(value: object) -> str:
    """Format seconds: ``0.24 s``, ``12 s``."""
    exact = _decimal(value)
    if exact is None:
        return NOTHING
    return f"{exact:.0f} s" if exact >= 10 else f"{exact:.2f} s"


def millis(value: object) -> str:
    """Format a latency in ms: ``0.8 ms``, ``120 ms``, ``4.2 s``."""
    exact = _decimal(value)
    if exact is None:
        return NOTHING
    if exact >= 1000:
        return f"{exact / 1000:.1f} s"
    return f"{exact:.0f} ms" if exact >= 10 or not exact else f"{exact:.1f} ms"


def duration(ms: object) -> str:
    """Format a duration (ms) in its two largest units: ``45 s``, ``3 h 12 min``, ``2 d 4 h``."""
    exact = _decimal(ms)
    if exact is None:
        return NOTHING
    left = max(0, int(exact)) // 1000
    if left < 60:
        return f"{left} s"
    minutes, hours, days = left // 60, left // 3600, left // 86400
    if minutes < 60:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{days} d {hours % 24} h"


def clock(ts: object) -> str:
    """Format a time (ms) as the UTC time of day: ``14:03:22``."""
    return _moment(ts, "%H:%M:%S")


def moment(ts: object) -> str:
    """Format a time (ms) as UTC date and time: ``2026-03-01 14:03:22``."""
    return _moment(ts, "%Y-%m-%d %H:%M:%S")


def words(name: object) -> str:
    """Return a constant in words: ``STOP_MOVE`` becomes ``stop move``."""
    return str(name).replace("_", " ").lower()


def install(app: Flask) -> None:
    """Add these filters to the app's templates."""
    for filter_ in (number, price, money, percent, share, seconds, millis, duration, clock, moment, words):
        app.add_template_filter(filter_)


def _decimal(value: object) -> Decimal | None:
    if value is None or isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        return None
    try:
        exact = Decimal(str(value))
    except ArithmeticError:
        return None
    return exact if exact.is_finite() else None


def _moment(ts: object, form: str) -> str:
    exact = _decimal(ts)
    if not exact:
        return NOTHING
    return datetime.fromtimestamp(int(exact) / 1000, UTC).strftime(form)
