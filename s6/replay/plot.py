"""Plots a life for the terminal: mark, entry average and stop over time, and every fill."""

from __future__ import annotations

from typing import Any, Final

import plotext

from s6.replay.axes import tick_label, time_ticks, value_ticks
from s6.replay.life import Life, Span

LINE: Final = "braille"
#: The symbol and colour of each kind of fill.
MARKS: Final = {
    "ENTRY": ("▲", "green"),
    "ADD": ("△", "cyan"),
    "TP": ("◆", "orange"),
    "REDUCE": ("◇", "magenta"),
    "EXIT": ("■", "red"),
    "SL": ("■", "red"),
    "GUARD": ("■", "red"),
}
LINES: Final = {"mark": "blue", "entry": "gray", "stop": "red"}


def plot(life: Life, width: int, height: int, *, colour: bool) -> str:
    """Return ``height`` lines of at most ``width`` characters, and a legend line."""
    figure: Any = plotext.figure
    figure.clear()
    plotext.terminal.limit(False, False)
    figure.plot_size(width, height)
    figure.theme("simple")
    figure.canvas("default")
    marks = [float(step.position.mark) for step in life.steps]
    _draw(figure, life, [step.ts for step in life.steps], marks, LINES["mark"])
    for name, spans in (("entry", life.entry), ("stop", life.stop)):
        for xs, ys in _steps(spans):
            _draw(figure, life, xs, ys, LINES[name])
    for step, fill in life.fills:
        symbol, shade = MARKS[fill.kind]
        figure.draw(figure.signal([step.ts - life.start], [float(fill.price)], marker=plotext.marker(symbol, shade)))
    _rulers(figure, life, width, height)
    text: str = figure.build().string(colorless=not colour)
    return text.rstrip("\n") + "\n" + _legend(life)


def _draw(figure: Any, life: Life, times: list[int], ys: list[float], shade: str) -> None:
    """Draw the lines and fills. Times count from the life's start, since the plotter's numbers are too short for ms."""
    xs = [ts - life.start for ts in times]
    figure.draw(figure.signal(xs, ys, marker=plotext.marker(LINE, shade)).lines(True))


def _steps(spans: list[Span]) -> list[tuple[list[int], list[float]]]:
    """Return the corners of the staircases; each pause begins a new one."""
    stairs: list[tuple[list[int], list[float]]] = []
    end = None
    for span in spans:
        if span.start != end:
            stairs.append(([], []))
        stairs[-1][0].extend((span.start, span.end))
        stairs[-1][1].extend((float(span.value),) * 2)
        end = span.end
    return stairs


def _rulers(figure: Any, life: Life, width: int, height: int) -> None:
    prices = [float(step.position.mark) for step in life.steps]
    prices += [float(span.value) for spans in (life.entry, life.stop) for span in spans]
    prices += [float(fill.price) for _, fill in life.fills]
    values = value_ticks(min(prices), max(prices), max(height // 4, 2))
    figure.ruler("y").ticks(values, [tick_label(value, values) for value in values])
    times = time_ticks(life.start, life.end, max(width // 16, 2))
    figure.ruler("x").ticks([ts - life.start for ts, _ in times], [label for _, label in times])


def _legend(life: Life) -> str:
    kinds = dict.fromkeys(fill.kind for _, fill in life.fills)
    marks = [f"{MARKS[kind][0]} {kind}" for kind in kinds]
    return "  " + "   ".join(["lines: mark, entry average, stop", *marks])
