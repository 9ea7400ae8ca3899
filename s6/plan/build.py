"""The one place where the rules meet."""

from __future__ import annotations

from dataclasses import replace

from s6 import rules
from s6.model.bundle import ActiveBundle, GuardRules
from s6.model.market import MarketView
from s6.model.position import Position
from s6.plan import closing, scaling, stop
from s6.plan.action import Action, Plan
from s6.plan.context import PlanContext, observe
from s6.rules import StopDecision


def build_plan(position: Position, view: MarketView, bundle: ActiveBundle, mode: str, now: int) -> Plan:
    """What to do about the position now. ``mode`` RISK_REDUCTION_ONLY: no adds.

    Nothing is done on the word of books that S4 may know better: nobody could tell a stop that is missing from one that
    nobody remembers.
    """
    p = _completed(observe(position, view, bundle, now), bundle)
    if p.unverified_from:
        return Plan(p)
    spec = bundle.symbols.get(p.symbol)
    if not p.is_open:
        return _cleanup(p, now)
    fut, spot = bundle.fut(p.symbol), bundle.spot(p.symbol)
    rule = fut if p.market == "FUT" else spot
    if spec is None or rule is None or p.mark <= 0 or not p.qty:
        return Plan(p)
    is_fut = p.market == "FUT"
    guard = fut.stop if is_fut and fut else spot.guard if spot else GuardRules()
    context = PlanContext(p, view, spec, guard, fut if is_fut else None, None if is_fut else spot, bundle, mode, now)
    k, known = guard.k_for(view.features.regime or None)
    decision = stop.decision(context, k)
    context = replace(context, p=closing.breached(context, decision))
    plan = _acting(context, decision)
    actions = tuple(replace(action, step=spec.step) for action in plan.actions)
    return replace(plan, actions=actions, regime_unknown=not known)


def _completed(p: Position, bundle: ActiveBundle) -> Position:
    """The position with the liquidation price that nobody could compute while no bundle named its symbol."""
    spec = bundle.symbols.get(p.symbol)
    governed_before = bool(p.bundle_version)
    if spec is None or governed_before or p.market != "FUT" or p.liq_price or not p.qty or p.isolated_margin_usdt <= 0:
        return p
    entry, margin = p.entry_price_avg, p.isolated_margin_usdt
    liq = rules.liquidation_price(entry=entry, qty=p.qty, margin=margin, mmr=spec.mmr, side=p.side)
    return replace(p, liq_price=liq)


def _acting(context: PlanContext, decision: StopDecision) -> Plan:
    p = context.p
    leave = closing.leave(context, decision)
    if leave is not None:
        if context.now < p.exit_not_before:
            return Plan(p, (), p.exit_not_before - context.now)
        qty = closing.closable(context)
        return Plan(p, (replace(leave, qty=qty),) if qty > 0 else ())
    actions: list[Action] = []
    recheck = 0
    if p.breach_ts:
        recheck = max(p.breach_ts + context.bundle.execution.breach_grace_ms - context.now, 1)
    downgrade = closing.downgrade(context)
    if downgrade is not None:
        actions.append(downgrade)
    move, wait = stop.move(context, decision)
    recheck = min((w for w in (recheck, wait) if w), default=0)
    strays = stop.strays(p, context.now)
    if move is not None and p.live_stop is None and not p.sl_failures:
        actions += strays  # they go first, lest two stops live side by side
        strays = []
    if move is not None:
        actions.append(move)
    elif decision.price == p.sl_price and decision.level > p.sl_level:
        p = replace(p, sl_level=decision.level)
    actions += strays
    if not p.paused and not p.working and context.now >= p.hold_until:
        actions += [
            a for a in (scaling.take_profit(context), None if downgrade else scaling.add(context)) if a is not None
        ]
    if scaling.stagnates(context):
        actions.append(Action("STAGNATED", "NO_NEW_BEST"))
    return Plan(p, tuple(actions), recheck)


def _cleanup(p: Position, now: int) -> Plan:
    """Nothing of ours may outlive the position. A cancel that S4 would not carry out is tried again after a while."""
    mine = tuple(Action("CLEANUP", "CLOSED", target=o.client_order_id) for o in p.orders if o.ours)
    if mine and now < p.sl_not_before:
        return Plan(p, (), p.sl_not_before - now)
    return Plan(p, mine)
