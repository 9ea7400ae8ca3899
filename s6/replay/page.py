"""A replay as a self-contained HTML page that loads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment
from markupsafe import Markup

from s6.model import jsonx
from s6.replay.chart import chart
from s6.replay.fold import Step
from s6.replay.life import Life, guarded
from s6.replay.summary import figures
from s6.replay.text import NONE, clock, moment, money, number, percent, what

#: The columns of the page's table.
COLUMNS: Final = ("seq", "time", "phase", "what", "mark", "qty", "entry", "stop", "ROE", "unrealized", "realized")


def page(lives: Sequence[Life]) -> str:
    """Return the HTML for these lives of one position."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_asset("page.html"))
    return template.render(
        position=lives[-1].last,
        lives=[_shown(life) for life in lives],
        style=Markup(_asset("page.css")),
        script=Markup(_asset("page.js")),
        columns=COLUMNS,
        until=moment(lives[-1].end),
    )


@cache
def _asset(name: str) -> str:
    return files("s6.replay").joinpath(name).read_text(encoding="utf-8")


def _shown(life: Life) -> dict[str, object]:
    drawn = chart(life)
    rows = [_row(step, before) for step, before in zip(life.steps, [None, *life.steps], strict=False)]
    places = [[f"{x:.1f}", f"{y:.1f}"] for x, y in drawn.places]
    return {
        "number": life.number,
        "position": life.last,
        "figures": figures(life),
        "chart": Markup(drawn.svg),
        "rows": rows,
        "when": f"{moment(life.start)} to {moment(life.end)} UTC",
        "places": jsonx.dumps(places),
    }


def _row(step: Step, before: Step | None) -> dict[str, object]:
    p = step.position
    moved = before is not None and before.position.sl_price != p.sl_price
    stop = NONE if p.sl_price is None or not p.is_open else number(p.sl_price)
    return {
        "kind": step.fill.kind if step.fill else "moved" if moved else "",
        "matters": step.fill is not None or moved or bool(step.faults),
        "unprotected": p.is_open and p.sl_price is not None and not guarded(p),
        "faults": step.faults,
        "ours": step.fill is None or step.fill.ours or step.fill.kind == "ENTRY",
        "cause": step.cause,
        "cells": [
            str(step.seq),
            clock(step.ts),
            step.phase,
            what(step).replace(" ", "\N{NO-BREAK SPACE}") if step.fill else step.cause,
            number(p.mark),
            number(p.qty),
            number(p.entry_price_avg, 4),
            stop,
            percent(p.roe),
            money(p.unrealized_pnl_usdt),
            money(p.realized_pnl_usdt),
        ],
    }
