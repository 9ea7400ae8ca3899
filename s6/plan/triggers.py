"""The prices at which anything would change for a position, so that a tick asks only for those it crossed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from s6 import rules
from s6.model.bundle import ActiveBundle, FutRules, StopRules
from s6.model.market import Features
from s6.model.position import Position
from s6.plan.terms import fut_rules, spot_rules, stop_rules, terms_of
from s6.rules.exact import exactly, quotient

FAR: Final = Decimal("1e20")
"""A mark in favour of a LONG, whatever it is; its reciprocal is in favour of a SHORT."""


def triggers(p: Position, bundle: ActiveBundle, features: Features) -> set[Decimal]:
    """Marks at which the position's plan may change; a mark on one counts as having crossed it.

    More than needed is harmless, less is not: what depends on time alone is the sweep's.
    """
    terms = terms_of(p, bundle)
    if terms is None or not p.is_open or not p.qty or p.isolated_margin_usdt <= 0:
        return set()
    spec, stop = terms.spec, stop_rules(p, terms.spec)
    fut, spot = fut_rules(p, spec), spot_rules(p, spec)
    prices = set()
    if p.sl_price is not None:
        prices.add(p.sl_price)
    if fut is not None:
        prices.update(at_roes(p, (r.roe for r in fut.tp_ladder)))
        prices.update(_risk(p, fut))
        if fut.add_on is not None:
            prices.update(at_roes(p, [fut.add_on.roe_gate]))
    if spot is not None:
        prices.update(at_roes(p, (r.roe for r in spot.tp_ladder)))
    prices.update(at_roes(p, (s.roe for s in stop.lock_steps)))
    trail = _trail(p, stop, features, spec.tick)
    if trail is not None:
        prices.add(trail)
    waiting = _waiting(p, stop, features, spec.tick)
    if waiting is not None:
        prices.add(waiting)
    return {price for price in prices if price > 0}


def at_roes(p: Position, roes: Iterator[Decimal] | list[Decimal]) -> Iterator[Decimal]:
    """Yield the marks at which the position has these returns."""
    for roe in roes:
        yield rules.mark_at_roe(side=p.side, entry=p.entry_price_avg, qty=p.qty, margin=p.isolated_margin_usdt, roe=roe)


def _risk(p: Position, fut: FutRules) -> Iterator[Decimal]:
    for buffer in (fut.risk.lb_min, fut.risk.lb_exit):
        mark = rules.mark_at_buffer(side=p.side, liq_price=p.liq_price, buffer=buffer)
        if mark is not None:
            yield mark


def _trail(p: Position, stop: StopRules, features: Features, tick: Decimal) -> Decimal | None:
    """The next best mark at which a stop that trails the best would move by the least it may."""
    if stop.anchor != "BEST" or p.sl_price is None:
        return None
    k, _ = stop.k_for(features.regime or None)
    with exactly():
        least = max(tick, p.sl_price * stop.min_move_bps * Decimal("0.0001"))
        target = p.sl_price + p.dir * least
        if features.atr:
            return target + p.dir * k * features.atr
        return quotient(target, 1 - p.dir * stop.fallback_pct)


def _waiting(p: Position, stop: StopRules, features: Features, tick: Decimal) -> Decimal | None:
    """The stop by volatility or liquidation price, which the mark must first be on the right side of."""
    k, _ = stop.k_for(features.regime or None)
    return rules.next_stop_price(
        side=p.side,
        entry=p.entry_price_avg,
        qty=p.qty,
        margin=p.isolated_margin_usdt,
        mark=FAR if p.side == "LONG" else 1 / FAR,
        atr=features.atr or None,
        k=k,
        sl_prev=p.sl_price,
        level=0,
        lock_steps=(),
        tick=tick,
        fallback_pct=stop.fallback_pct,
        anchor=(p.best_mark or None) if stop.anchor == "BEST" else None,
        liq_price=p.liq_price if p.market == "FUT" and p.liq_price > 0 else None,
        liq_clearance=stop.liq_clearance,
    ).price
