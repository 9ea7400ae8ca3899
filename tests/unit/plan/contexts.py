"""What the parts of a plan are asked with."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from s6.model.market import MarketView
from s6.model.position import Position
from s6.plan import stop
from s6.plan.context import PlanContext, observe
from s6.plan.terms import fut_rules, in_force, spot_rules, stop_rules
from s6.rules import StopDecision
from tests.unit.given import NOW, bundle, view


def context(
    held: Position, market: MarketView | int | str = 40_000, *, now: int = NOW, mode: str = "NORMAL", **rules: Any
) -> PlanContext:
    """A position in a market (a mark will do), under a bundle with these sections."""
    seen = market if isinstance(market, MarketView) else view(market, ts=now)
    book = bundle(**rules)
    spec = book.symbols["BTCUSDT"]
    p = in_force(observe(held, seen, book, now), book)
    return PlanContext(p, seen, spec, stop_rules(p, spec), fut_rules(p, spec), spot_rules(p, spec), book, mode, now)


def decided(asked: PlanContext) -> StopDecision:
    """Where its stop belongs by the rules."""
    return stop.decision(asked, asked.stop.k_for(asked.view.features.regime or None)[0])


def spot(held: Position) -> Position:
    """The same on SPOT: paid in full, guarded by S6, with no order at rest."""
    whole = held.qty * held.entry_price_avg
    changes: dict[str, Any] = {"market": "SPOT", "liq_price": Decimal(0), "isolated_margin_usdt": whole, "sl_order": ""}
    return replace(held, orders=(), **changes)
