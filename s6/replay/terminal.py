"""A replay in the terminal: a summary, a plot and a table for each life. It is plain text if output is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from s6.replay.fold import Step
from s6.replay.life import Life, guarded
from s6.replay.summary import figures
from s6.replay.text import NONE, clock, describe_fill, moment, money, number, percent

PIPED_WIDTH: Final = 160
PLOT_MIN: Final = 56
FILL_STYLES: Final = {
    "ENTRY": "green",
    "ADD": "cyan",
    "TP": "yellow",
    "REDUCE": "magenta",
    "EXIT": "bold red",
    "SL": "bold red",
    "GUARD": "bold red",
}


def show(lives: Sequence[Life], console: Console | None = None) -> None:
    """Print the lives. The terminal's width decides which columns the tables have."""
    console = console or _console()
    for life in lives:
        console.print(_heading(life))
        for name, text in figures(life):
            console.print(Text.assemble((f"  {name:<14}", "dim"), text))
        console.print()
        plot = _plot(life, console)
        if plot is not None:
            console.print(plot, soft_wrap=True)
        console.print(_table(life, console.width))


def _console() -> Console:
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=PIPED_WIDTH, force_terminal=False, color_system=None)


def _heading(life: Life) -> Text:
    p = life.last
    side = "green" if p.side == "LONG" else "red"
    number_ = f" · life {life.number}" if life.number > 1 else ""
    text = Text.assemble((p.position_id, "bold"), f"  {p.symbol} {p.market} ", (p.side, side), number_, "  ")
    return text.append(p.status, "bold" if p.is_open else "dim")


def _plot(life: Life, console: Console) -> Text | None:
    """Return the plot, or None if it would not be readable or cannot be drawn."""
    if console.width < PLOT_MIN or len(life.steps) < 2 or not (console.encoding or "").lower().startswith("utf"):
        return None
    try:
        from s6.replay.plot import plot
    except ImportError:  # plotext has a compiled part that may be missing; the table still helps
        return None
    height = max(12, min(24, console.height - 12)) if console.is_terminal else 20
    return Text.from_ansi(plot(life, min(console.width, 200), height, colour=console.color_system is not None))


# A column has a heading, a rank (higher matters less) and a cell.
_Cell = Callable[[Step], Text]
_COLUMNS: Final[tuple[tuple[str, int, _Cell], ...]] = (
    ("seq", 0, lambda s: Text(str(s.seq))),
    ("time", 0, lambda s: Text(clock(s.ts))),
    ("phase", 4, lambda s: Text(s.phase, style="bold" if s.phase == "RESULT" else "dim")),
    ("what", 0, lambda s: _what(s)),
    ("mark", 1, lambda s: Text(number(s.position.mark))),
    ("qty", 1, lambda s: Text(number(s.position.qty))),
    ("entry", 3, lambda s: Text(number(s.position.entry_price_avg, 4))),
    ("stop", 1, lambda s: _stop(s)),
    ("lvl", 6, lambda s: Text(str(s.position.sl_level))),
    ("ROE", 2, lambda s: _coloured(percent(s.position.roe))),
    ("unrealized", 5, lambda s: _coloured(money(s.position.unrealized_pnl_usdt))),
    ("realized", 2, lambda s: _coloured(money(s.position.realized_pnl_usdt))),
)
_LEFT: Final = ("time", "phase", "what")
_WHAT_NEEDS: Final = 32


def _table(life: Life, width: int) -> Table:
    """Build the table, without the least important columns on a narrow terminal."""
    columns = [(name, rank, [cell(step) for step in life.steps]) for name, rank, cell in _COLUMNS]
    needs = {name: max(len(name), *map(len, cells)) for name, _, cells in columns}
    needs["what"] = min(needs["what"], _WHAT_NEEDS)
    while sum(needs[name] + 1 for name, _, _ in columns) > width and any(rank for _, rank, _ in columns):
        columns.remove(max(columns, key=lambda column: column[1]))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim", title_justify="left")
    table.title = f"{moment(life.start)} to {moment(life.end)} UTC, {len(life.steps)} snapshots"
    table.title_style = "dim"
    for name, _, _ in columns:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=name != "what")
    for row in zip(*(cells for _, _, cells in columns), strict=True):
        table.add_row(*row)
    return table


def _what(step: Step) -> Text:
    if step.fill is None:
        text = Text(step.cause)
    else:
        text = Text(describe_fill(step.fill), style=FILL_STYLES.get(step.fill.kind, ""))
        text.append("" if step.fill.ours or step.fill.kind == "ENTRY" else " (not ours)", "dim")
    for fault in step.faults:
        text.append(f"\n✗ {fault}", "bold red")
    return text


def _stop(step: Step) -> Text:
    p = step.position
    if p.sl_price is None or not p.is_open:
        return Text(NONE, style="dim")
    return Text(number(p.sl_price), style="" if guarded(p) else "red reverse")


def _coloured(text: str) -> Text:
    return Text(text, style="green" if text.startswith("+") else "red" if text.startswith("−") else "dim")
