"""The key figures of a life, the same in the terminal and on the page."""

from __future__ import annotations

from s6.replay.life import CLOSING, Life, unprotected_ms
from s6.replay.text import duration, moment, money, number, percent


def figures(life: Life) -> list[tuple[str, str]]:
    """Return (name, text) pairs."""
    p = life.last
    counts = [
        (len(life.stop_moves), "stop move"),
        (life.count("TP"), "take-profit"),
        (life.count("ADD"), "add"),
        (life.count("REDUCE"), "reduction"),
        (life.count(*CLOSING), "closing order"),
    ]
    work = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts if count)
    rows = [
        ("opened", f"{moment(life.start)} UTC, {number(p.q0)}; at most {number(life.most_held)} held"),
        ("closed", f"{moment(p.closed_ts)} UTC, {life.exit_reason}, after {duration(p.closed_ts - p.opened_ts)}")
        if not p.is_open
        else ("held", f"{number(p.qty)}, ROE {percent(p.roe)}, unrealized {money(p.unrealized_pnl_usdt)} USDT"),
        ("realized", f"{money(p.realized_pnl_usdt)} USDT, fees of {money(life.fees, signed=False)} taken off"),
        ("governed", work or "not yet"),
    ]
    if p.market == "FUT":
        rows.append(("no live stop", f"for {duration(unprotected_ms(life))} in all, from the first fill on"))
    return rows
