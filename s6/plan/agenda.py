"""When the plan of a position at rest may change next: at a mark below or above the present one, or at a time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from s6 import rules
from s6.model.bundle import ActiveBundle, SymbolSpec
from s6.model.bundle_rules import Stagnation
from s6.model.market import MarketView
from s6.model.position import Position
from s6.model.waiting import LONGEST_MS, left_ms
from s6.plan.action import Plan
from s6.plan.protection import is_protected
from s6.plan.terms import fut_rules, spot_rules, stop_rules, terms_of
from s6.plan.triggers import at_roes, triggers

#: A position of which something waits for more than one price or time is looked at again after this long.
PENDING_MS: Final = 10_000
#: A new best is written down once the last one is this old.
BEST_MS: Final = 60_000


class Agenda(NamedTuple):
    """The nearest marks on both sides of the present one, and the next time (ms), at which to look again.

    A mark that reaches ``below`` or ``above`` counts. One that equals the present mark is reached by any move away from
    it on that side. None: nothing changes on that side, or by itself.
    """

    below: Decimal | None = None
    above: Decimal | None = None
    due: int | None = None


def agenda(plan: Plan, view: MarketView, bundle: ActiveBundle, now: int) -> Agenda:
    """Return when to look again at a position for which ``plan``, made at ``now``, has nothing left to begin.

    More often than needed is harmless, less often is not. What the market's features, the bundle, the mode and the
    results of orders change is not in it: who brings those asks for a look.
    """
    p = plan.position
    waits = [now + ms for ms in _waits(plan, view, bundle, now)]
    terms = terms_of(p, bundle)
    if not p.is_open or terms is None or not p.qty or p.mark <= 0:
        return Agenda(due=min(waits, default=None))
    prices = triggers(p, bundle, view.features) | set(_band(p, terms.spec, now))
    best_due = p.best_ts + BEST_MS
    if now <= best_due and not p.stagnated:  # the first new best ends a stagnation
        waits.append(best_due + 1)
    elif p.isolated_margin_usdt > 0:
        prices.update(at_roes(p, [p.best_roe]))
    below = max((price for price in prices if price <= p.mark), default=None)
    above = min((price for price in prices if price >= p.mark), default=None)
    return Agenda(below, above, min(waits, default=None))


def _waits(plan: Plan, view: MarketView, bundle: ActiveBundle, now: int) -> Iterator[int]:
    """Yield in how many ms something of the position falls due."""
    p = plan.position
    if plan.recheck_ms:
        yield plan.recheck_ms
    if plan.actions or p.unverified_from or any(o.ours and o.kind != "SL" for o in p.orders):
        yield PENDING_MS
    for at in (p.exit_not_before, p.sl_not_before, p.trail_not_before, p.hold_until):
        if left := left_ms(at, now, LONGEST_MS):
            yield left
    terms = terms_of(p, bundle)
    if not p.is_open or terms is None:
        return
    if _is_pending(p, terms.spec, view, now):
        yield PENDING_MS
    fut = fut_rules(p, terms.spec)
    if fut is not None and (left := left_ms(p.reduce_ts + fut.risk.cooldown_ms, now, fut.risk.cooldown_ms)):
        yield left
    if (left := _stagnates_in(p, terms.spec, now)) > 0:
        yield left


def _is_pending(p: Position, spec: SymbolSpec, view: MarketView, now: int) -> bool:
    """Return whether the position has come to something that could not be begun: too little of it is held, the mode
    forbids it, or something else stands in its way that no single price or time ends."""
    fut, spot, stop = fut_rules(p, spec), spot_rules(p, spec), stop_rules(p, spec)
    if p.exit_reason or not is_protected(p):
        return True
    ladder = fut.tp_ladder if fut is not None else spot.tp_ladder if spot is not None else ()
    if any(p.roe >= rung.roe and number not in p.tp_done for number, rung in enumerate(ladder)):
        return True
    if sum(p.roe >= step.roe for step in stop.lock_steps) > p.sl_level:
        return True
    if fut is None:
        return False
    buffer = rules.liquidation_buffer(mark=p.mark, liq_price=p.liq_price, side=p.side)
    if buffer < fut.risk.lb_min and p.reduces < fut.risk.max_reduces:
        return True
    signal = view.features
    return (
        fut.add_on is not None
        and bool(signal.signal_id)
        and signal.signal == p.side
        and signal.signal_id not in p.used_signals
        and now - signal.signal_ts <= fut.add_on.signal_ttl_ms
        and p.roe >= fut.add_on.roe_gate
    )


def _stagnation(p: Position, spec: SymbolSpec) -> Stagnation | None:
    fut, spot = fut_rules(p, spec), spot_rules(p, spec)
    return fut.stagnation if fut is not None else spot.stagnation if spot is not None else None


def _stagnates_in(p: Position, spec: SymbolSpec, now: int) -> int:
    """Return in how many ms the position may stagnate, 0 when it has, or may by its price alone."""
    rule = _stagnation(p, spec)
    return 0 if rule is None or p.stagnated else max(p.best_ts + rule.after_ms - now, 0)


def _band(p: Position, spec: SymbolSpec, now: int) -> Iterator[Decimal]:
    """The marks between which a position whose time is over stagnates."""
    rule = _stagnation(p, spec)
    if rule is not None and not p.stagnated and not _stagnates_in(p, spec, now) and p.isolated_margin_usdt > 0:
        yield from at_roes(p, [rule.abs_roe_below, -rule.abs_roe_below])
