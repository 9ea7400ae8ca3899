"""Why a position must go, whole or in part, whatever else is planned for it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from s6 import rules
from s6.model.position import Position
from s6.model.types import ZERO
from s6.model.waiting import LONGEST_MS, in_force_since, is_over, left_ms
from s6.plan.action import Action
from s6.plan.context import PlanContext
from s6.rules import StopDecision
from s6.rules.exact import exactly


def leave(context: PlanContext, decision: StopDecision) -> Action | None:
    """Why the whole position must go at market, if it must."""
    p = context.p
    if p.exit_reason:
        return Action("EXIT", p.exit_reason)
    if context.fut is not None:
        buffer = rules.liquidation_buffer(mark=p.mark, liq_price=p.liq_price, side=p.side)
        if buffer < context.fut.risk.lb_exit:
            return Action("EXIT", "LIQUIDATION_BUFFER")
    if p.sl_refusals >= 2:
        return Action("EXIT", "STOP_REFUSED", fatal=True)
    if p.market == "SPOT" or p.self_guarded:
        return Action("EXIT", "GUARD", guard=True) if _guard_crossed(context, decision) else None
    if decision.passed:
        if p.live_stop is None:
            return Action("EXIT", "STOP_PASSED")
        if is_over(p.breach_ts, context.bundle.execution.breach_grace_ms, context.now):
            return Action("EXIT", "STOP_BREACHED")
    return None


def _guard_crossed(context: PlanContext, decision: StopDecision) -> bool:
    """A guard is crossed by any tick since the last look, not only by the newest one."""
    p, extremes = context.p, context.view.extremes
    if decision.passed:
        return True
    if p.sl_price is None or extremes is None:
        return False
    worst, ts = extremes.worst(p.side)
    return ts >= in_force_since(p.sl_ts, context.now) and (worst - p.sl_price) * p.dir <= 0


def breached(context: PlanContext, decision: StopDecision) -> Position:
    """Since when the mark has been beyond a stop that lives (0: it isn't)."""
    p = context.p
    if decision.passed and p.live_stop is not None:
        return p if p.breach_ts else replace(p, breach_ts=context.now)
    return replace(p, breach_ts=0) if p.breach_ts else p


def closable(context: PlanContext) -> Decimal:
    """What an order may still close: whole steps of what is held, less what others already close."""
    with exactly():
        free = context.p.qty - context.p.closing_in_flight
    return rules.round_down(free, context.spec.step) if free > 0 else ZERO


def downgrade(context: PlanContext) -> Action | None:
    p, fut = context.p, context.fut
    if fut is None or p.working or left_ms(p.hold_until, context.now, LONGEST_MS):
        return None
    risk = fut.risk
    buffer = rules.liquidation_buffer(mark=p.mark, liq_price=p.liq_price, side=p.side)
    if buffer >= risk.lb_min or p.reduces >= risk.max_reduces:
        return None
    if p.reduce_ts and not is_over(p.reduce_ts, risk.cooldown_ms, context.now):
        return None
    qty = rules.reduce_decision(qty=p.qty, fraction=risk.reduce_fraction, mark=p.mark, **context.size)
    return Action("RISK_DOWNGRADE", "LIQUIDATION_BUFFER", qty=qty) if qty > 0 else None
