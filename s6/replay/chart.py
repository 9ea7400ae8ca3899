"""Draws a life as inline SVG: prices with stop and fills, the quantity held, and the profit.

Coordinates are pixels of a drawing 1200 wide; the page's style gives the colours by class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Final

from s6.replay.axes import tick_label, time_ticks, value_ticks
from s6.replay.fold import Fill, Step
from s6.replay.life import Life, Span
from s6.replay.text import clock, describe_fill, number

WIDTH: Final = 1200
LEFT: Final = 74.0
RIGHT: Final = 1074.0
Point = tuple[float, float]
Time = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of the chart with its own scale: values ``high`` to ``low`` lie at pixels ``top`` to ``bottom``."""

    name: str
    top: float
    bottom: float
    low: float
    high: float

    def y(self, value: Decimal | float) -> float:
        return self.bottom - (float(value) - self.low) / (self.high - self.low) * (self.bottom - self.top)


@dataclass(frozen=True, slots=True)
class Chart:
    """The drawing, and the (x, y of the mark) of each step, for the cursor that follows the pointer."""

    svg: str
    places: list[Point]


def chart(life: Life) -> Chart:
    """Draw a life. A life of a single step is drawn one second long."""
    start, end = life.start, max(life.end, life.start + 1000)

    def x(ts: int) -> float:
        return LEFT + (ts - start) / (end - start) * (RIGHT - LEFT)

    price, held, result = _panels(life)
    parts = [
        *map(_grid, (price, held, result)),
        *_times(start, end, x, (price, held, result)),
        *_bands(life, price, x),
        _line("mark", [(x(s.ts), price.y(s.position.mark)) for s in life.steps]),
        *(_stairs("entry", life.entry, price, x)),
        *(_stairs("stop", life.stop, price, x)),
        *_quantity(life, held, x),
        *_pnl(life, result, x),
        *_ends(life, price),
        *_fills(life, price, x),
    ]
    height = result.bottom + 30
    title = f"{life.last.position_id}, life {life.number}: prices, quantity and profit over time"
    svg = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" tabindex="0" aria-label="{escape(title)}">'
        f"{''.join(parts)}"
        f'<line class="cursor" y1="{price.top}" y2="{result.bottom}" visibility="hidden"/>'
        '<circle class="spot" r="4.5" visibility="hidden"/></svg>'
    )
    return Chart(svg, [(x(s.ts), price.y(s.position.mark)) for s in life.steps])


def _panels(life: Life) -> tuple[Panel, Panel, Panel]:
    prices = [float(s.position.mark) for s in life.steps]
    prices += [float(span.value) for spans in (life.entry, life.stop) for span in spans]
    prices += [float(fill.price) for _, fill in life.fills]
    results = [0.0, *(float(s.position.realized_pnl_usdt) for s in life.steps), *map(_total, life.steps)]
    return (
        _panel("Price", 26, 390, min(prices), max(prices), 0.08),
        _panel("Quantity", 428, 488, 0.0, float(life.most_held), 0.0),
        _panel("PnL, USDT", 526, 626, min(results), max(results), 0.08),
    )


def _panel(name: str, top: float, bottom: float, low: float, high: float, air: float) -> Panel:
    spare = (high - low) * air or (abs(high) * 0.01 or 1.0 if high == low else 0.0)
    return Panel(name, top, bottom, low - (spare if air else 0), high + spare)


def _total(step: Step) -> float:
    return float(step.position.realized_pnl_usdt + step.position.unrealized_pnl_usdt)


# --- axes ---------------------------------------------------------------------------------------------------------


def _grid(panel: Panel) -> str:
    ticks = value_ticks(panel.low, panel.high, 6 if panel.bottom - panel.top > 200 else 2)
    rows = [
        f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{panel.y(v):.1f}" y2="{panel.y(v):.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{panel.y(v) + 4:.1f}" text-anchor="end">{tick_label(v, ticks)}</text>'
        for v in ticks
    ]
    return "".join(rows) + f'<text class="panel" x="{LEFT}" y="{panel.top - 9}">{panel.name}</text>'


def _times(start: int, end: int, x: Time, panels: Sequence[Panel]) -> Iterable[str]:
    bottom = panels[-1].bottom
    for ts, label in time_ticks(start, end, 9):
        for panel in panels:
            yield f'<line class="grid" x1="{x(ts):.1f}" x2="{x(ts):.1f}" y1="{panel.top}" y2="{panel.bottom}"/>'
        yield f'<text class="tick" x="{x(ts):.1f}" y="{bottom + 20}" text-anchor="middle">{label}</text>'


# --- lines --------------------------------------------------------------------------------------------------------


def _line(name: str, points: Sequence[Point]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{name}" points="{path}"/>'


def _stairs(name: str, spans: Sequence[Span], panel: Panel, x: Time) -> Iterable[str]:
    """Yield a staircase for each run without a pause."""
    run: list[Point] = []
    for before, span in zip([None, *spans], spans, strict=False):
        if before is not None and before.end != span.start:
            yield _line(name, run)
            run = []
        y = panel.y(span.value)
        run += [(x(span.start), y), (x(span.end), y)]
    if run:
        yield _line(name, run)


def _bands(life: Life, panel: Panel, x: Time) -> Iterable[str]:
    """Draw the profit locked in or at risk between entry and stop, and along the bottom the unprotected times."""
    for start, end in life.unprotected:
        width = x(end) - x(start)
        yield _rect("unprotected-area", x(start), width, panel.top, panel.bottom)
        yield _rect("unprotected", x(start), max(width, 1.5), panel.bottom - 7, panel.bottom)
    for stop in life.stop:
        for entry in life.entry:
            start, end = max(stop.start, entry.start), min(stop.end, entry.end)
            if start < end:
                locked = (stop.value - entry.value) * life.last.dir >= 0
                ys = sorted((panel.y(stop.value), panel.y(entry.value)))
                yield _rect("locked" if locked else "risk", x(start), x(end) - x(start), *ys)


def _rect(name: str, left: float, width: float, top: float, bottom: float) -> str:
    return f'<rect class="{name}" x="{left:.1f}" y="{top:.1f}" width="{width:.2f}" height="{bottom - top:.1f}"/>'


def _quantity(life: Life, panel: Panel, x: Time) -> Iterable[str]:
    for span in life.held:
        if span.value:
            yield _rect("held", x(span.start), x(span.end) - x(span.start), panel.y(span.value), panel.bottom)
    yield from _stairs("heldline", life.held, panel, x)


def _pnl(life: Life, panel: Panel, x: Time) -> Iterable[str]:
    zero = panel.y(0)
    yield f'<line class="zero" x1="{LEFT}" x2="{RIGHT}" y1="{zero:.1f}" y2="{zero:.1f}"/>'
    yield _line("total", [(x(step.ts), panel.y(_total(step))) for step in life.steps])
    yield from _stairs("realized", life.realized, panel, x)
    ends = [("realized", float(life.last.realized_pnl_usdt))]
    if life.last.is_open:
        ends.insert(0, ("total", _total(life.steps[-1])))
    yield from _labels([(name, name, panel.y(value)) for name, value in ends])


def _ends(life: Life, panel: Panel) -> Iterable[str]:
    """Draw the lines' names at their right ends."""
    found = [("mark", f"mark {number(life.last.mark, 4)}", panel.y(life.last.mark))]
    for name, spans in (("entry", life.entry), ("stop", life.stop)):
        if spans:
            found.append((name, f"{name} {number(spans[-1].value, 1)}", panel.y(spans[-1].value)))
    yield from _labels(found)


def _labels(wanted: Iterable[tuple[str, str, float]]) -> Iterable[str]:
    """Draw labels in the right margin, and move them apart where they would overlap."""
    last = -100.0
    for name, text, y in sorted(wanted, key=lambda label: label[2]):
        last = max(y, last + 15)
        yield f'<text class="end {name}" x="{RIGHT + 8}" y="{last + 4:.1f}">{text}</text>'


# --- fills --------------------------------------------------------------------------------------------------------

_SHAPES: Final = {
    "ENTRY": "M0,-7 7,6 -7,6Z",
    "ADD": "M0,-7 7,6 -7,6Z",
    "TP": "M0,-7.5 7.5,0 0,7.5 -7.5,0Z",
    "REDUCE": "M0,-7.5 7.5,0 0,7.5 -7.5,0Z",
    "EXIT": "M-6,-6 6,-6 6,6 -6,6Z",
    "SL": "M-6,-6 6,-6 6,6 -6,6Z",
    "GUARD": "M-6,-6 6,-6 6,6 -6,6Z",
}
_TALL: Final = 15.0
_WIDE: Final = 6.7


def _fills(life: Life, panel: Panel, x: Time) -> Iterable[str]:
    """Draw a mark for each fill, and its description beside it where there is room."""
    marks = [(x(step.ts), panel.y(fill.price), step, fill) for step, fill in life.fills]
    taken = [(left - 8, top - 8, left + 8, top + 8) for left, top, _, _ in marks]
    for left, top, step, fill in marks:
        text = f"{fill.kind} {number(fill.qty)}"
        place = _room(left, top, len(text) * _WIDE, taken, panel)
        if place is not None:
            taken.append((*place, place[0] + len(text) * _WIDE, place[1] + _TALL))
            yield f'<text class="fill" x="{place[0]:.1f}" y="{place[1] + 11:.1f}">{escape(text)}</text>'
        yield _mark(left, top, step, fill)


def _mark(left: float, top: float, step: Step, fill: Fill) -> str:
    whose = "" if fill.ours or fill.kind == "ENTRY" else ", an order that S6 did not send"
    turn = " rotate(180)" if fill.kind in ("ENTRY", "ADD") and fill.side == "SELL" else ""
    return (
        f'<path class="m {fill.kind}" d="{_SHAPES[fill.kind]}" transform="translate({left:.1f} {top:.1f}){turn}">'
        f"<title>{escape(f'{clock(step.ts)} {describe_fill(fill)}{whose}')}</title></path>"
    )


def _room(
    x: float, y: float, width: float, taken: Sequence[tuple[float, float, float, float]], panel: Panel
) -> Point | None:
    """Return the first position around a mark where its text overlaps nothing, or None."""
    for left, top in (
        (x - width / 2, y - 26),
        (x - width / 2, y + 11),
        (x - 4, y - 26),
        (x - width + 4, y - 26),
        (x + 12, y - 8),
        (x - width - 12, y - 8),
        (x - width / 2, y - 44),
        (x - width / 2, y + 29),
        (x - 4, y + 11),
    ):
        right, bottom = left + width, top + _TALL
        inside = left > LEFT - 6 and right < RIGHT + 4 and top > panel.top and bottom < panel.bottom
        if inside and not any(left < x2 and x1 < right and top < y2 and y1 < bottom for x1, y1, x2, y2 in taken):
            return left, top
    return None
