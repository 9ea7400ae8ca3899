"""What a plan is made from: the position at the newest mark, its market, the rules for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from s6.booking import revalue
from s6.model.bundle import ActiveBundle, FutRules, SpotRules, StopRules, SymbolSpec
from s6.model.market import MarketView
from s6.model.position import Position


@dataclass(frozen=True, slots=True)
class PlanContext:
    """Everything one plan is made from, gathered once. ``current``: the bundle in force names the symbol."""

    p: Position
    view: MarketView
    spec: SymbolSpec
    stop: StopRules
    fut: FutRules | None
    spot: SpotRules | None
    bundle: ActiveBundle
    mode: str
    now: int
    current: bool = True

    @property
    def size(self) -> dict[str, Decimal]:
        s = self.spec
        return {"step": s.step, "min_qty": s.min_qty, "min_notional": s.min_notional}


def observe(position: Position, view: MarketView, bundle: ActiveBundle, now: int) -> Position:
    """The position at the newest mark, its watermarks moved.

    Without a tick the last known mark stands; once the stream has died, the mid of the last tick does.
    """
    tick = view.tick
    marks = []
    if tick is not None:
        stale = now - tick.ts > bundle.health.market_stale_ms
        marks = [(tick.mid if stale else None) or tick.mark]
    position = revalue(position, marks[0] if marks else position.mark)
    if not position.is_open or not position.qty:
        return position
    best = best_of(view, position)
    if best is not None:
        marks.append(best)
    for mark in marks:
        if (mark - position.best_mark) * position.dir > 0:
            position = replace(position, best_mark=mark)
    roe = revalue(position, position.best_mark).roe
    if roe > position.best_roe:
        position = replace(position, best_roe=roe, best_ts=now, stagnated=False)
    return position


def best_of(view: MarketView, p: Position) -> Decimal | None:
    """The best mark a tick has crossed to since the last look, if it came after the last entry or add."""
    if view.extremes is None:
        return None
    best, ts = view.extremes.best(p.side)
    return best if ts >= p.entry_ts else None
