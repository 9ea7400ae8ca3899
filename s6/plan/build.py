"""The one place where the rules meet."""

from __future__ import annotations

from dataclasses import replace

from s6.model.bundle import ActiveBundle
from s6.model.market import MarketView
from s6.model.position import Position
from s6.model.waiting import LONGEST_MS, left_ms
from s6.plan import closing, scaling, stop
from s6.plan.action import Action, Note, Plan
from s6.plan.context import PlanContext, observe
from s6.plan.protection import is_protected
from s6.plan.terms import fut_rules, in_force, spot_rules, stop_rules, terms_of
from s6.rules import StopDecision


def build_plan(position: Position, view: MarketView, bundle: ActiveBundle, mode: str, now: int) -> Plan:
    """Return what to do about the position now. ``mode`` RISK_REDUCTION_ONLY: no adds.

    Nothing is planned on books that S4 may know better: a stop that is missing and a stop that nobody remembers look
    alike.
    """
    p = in_force(observe(position, view, bundle, now), bundle)
    if p.unverified_from:
        return Plan(p)
    if not p.is_open:
        return _cleanup(p, now)
    terms = terms_of(p, bundle)
    if terms is None:
        return _never_named(p, bundle, now)
    if p.mark <= 0 or not p.qty:
        return Plan(p)
    spec = terms.spec
    rule = stop_rules(p, spec)
    k, known = rule.k_for(view.features.regime or None)
    context = PlanContext(
        p, view, spec, rule, fut_rules(p, spec), spot_rules(p, spec), bundle, mode, now, terms.current
    )
    decision = stop.decision(context, k)
    context = replace(context, p=closing.breached(context, decision))
    plan = _acting(context, decision)
    actions = tuple(replace(action, step=spec.step) for action in plan.actions)
    return replace(plan, actions=actions, notes=_notes(context, known))


def _acting(context: PlanContext, decision: StopDecision) -> Plan:
    p = context.p
    leave = closing.leave(context, decision)
    if leave is not None:
        wait = left_ms(p.exit_not_before, context.now, LONGEST_MS)
        if wait:
            return Plan(p, (), wait)
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
    strays = [stray for stray in stop.strays(p, context.now) if move is None or stray.target != move.target]
    if move is not None and (is_protected(p) or not p.sl_failures):
        actions += strays  # they go first, so that no two stops live side by side
        strays = []
    if move is not None:
        actions.append(move)
    elif decision.price == p.sl_price and decision.level > p.sl_level:
        p = replace(p, sl_level=decision.level)
    actions += strays
    actions += scaling.actions(context, reducing=downgrade is not None)
    if scaling.stagnates(context):
        actions.append(Action("STAGNATED", "NO_NEW_BEST"))
    return Plan(p, tuple(actions), recheck)


def _never_named(p: Position, bundle: ActiveBundle, now: int) -> Plan:
    """No bundle ever named the symbol: only people can close the position, and then the whole of it."""
    notes = (_unknown(p, bundle, "not governed until a bundle names it"),)
    wait = left_ms(p.exit_not_before, now, LONGEST_MS)
    if p.exit_reason and wait:
        return Plan(p, (), wait, notes)
    qty = p.qty - p.closing_in_flight
    actions = (Action("EXIT", p.exit_reason, qty=qty),) if p.exit_reason and qty > 0 else ()
    return Plan(p, actions, notes=notes)


def _notes(context: PlanContext, regime_known: bool) -> tuple[Note, ...]:
    p, view, spec = context.p, context.view, context.spec
    notes: tuple[Note, ...] = ()
    if not regime_known:
        text = f"regime {view.features.regime!r} of {p.symbol} is not in the bundle: the default one applies"
        notes += (Note("WARN", "REGIME_UNKNOWN", text, scope=p.symbol),)
    if not context.current:
        notes += (_unknown(p, context.bundle, "the last terms go on for stops, guards, risk and exits"),)
    if p.qty < spec.step:
        text = f"{p.qty} {p.symbol} is held, less than one step of {spec.step}: no order can close it"
        notes += (Note("ERROR", "UNTRADABLE", text, position_id=p.position_id),)
    return notes


def _unknown(p: Position, bundle: ActiveBundle, consequence: str) -> Note:
    text = f"{p.symbol} has open positions and is not in bundle {bundle.version}: {consequence}"
    return Note("ERROR", "SYMBOL_UNKNOWN", text, scope=p.symbol)


def _cleanup(p: Position, now: int) -> Plan:
    """Nothing of ours may outlive the position. A cancel that S4 would not carry out is tried again after a while."""
    mine = tuple(Action("CLEANUP", "CLOSED", target=o.client_order_id) for o in p.orders if o.ours)
    wait = left_ms(p.sl_not_before, now, LONGEST_MS)
    if mine and wait:
        return Plan(p, (), wait)
    return Plan(p, mine)
