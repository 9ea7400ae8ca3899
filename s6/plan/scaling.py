"""Scaling out by take-profits and in by adds; and positions that do neither."""

from __future__ import annotations

from s6 import rules
from s6.plan.action import Action
from s6.plan.context import PlanContext


def take_profit(context: PlanContext) -> Action | None:
    p = context.p
    ladder = context.fut.tp_ladder if context.fut else context.spot.tp_ladder if context.spot else ()
    if not ladder:
        return None
    decision = rules.tp_ladder_decision(
        roe=p.roe, ladder=ladder, done=p.tp_done, qty=p.qty, mark=p.mark, **context.size
    )
    if decision.qty <= 0:
        return None
    return Action("TP_PARTIAL", "RUNG", qty=decision.qty, rungs=tuple(decision.rungs))


def add(context: PlanContext) -> Action | None:
    p = context.p
    rule = context.fut.add_on if context.fut else None
    if rule is None or context.mode != "NORMAL":
        return None
    signal = context.view.features
    expired = context.now - signal.signal_ts > rule.signal_ttl_ms
    if not signal.signal_id or signal.signal_id in p.used_signals or expired:
        return None
    if signal.signal_ts <= p.rebuilt_ts:  # nobody knows whether it was used
        return None
    decision = rules.add_on_decision(
        roe=p.roe,
        add_on_count=p.add_on_count,
        added_qty=p.added_qty,
        q0=p.q0,
        signal=signal.signal or None,
        side=p.side,
        gate=rule.roe_gate,
        cap=rule.cap,
        gamma=rule.gamma,
        eta=rule.eta,
        mark=p.mark,
        **context.size,
    )
    if decision.qty <= 0:
        return None
    margin = rules.initial_margin(qty=decision.qty, price=p.mark, leverage=p.leverage)
    return Action("ADD", "SIGNAL", qty=decision.qty, signal_id=signal.signal_id, margin=margin)


def stagnates(context: PlanContext) -> bool:
    p = context.p
    rule = context.fut.stagnation if context.fut else context.spot.stagnation if context.spot else None
    if rule is None or p.stagnated:
        return False
    return context.now - p.best_ts >= rule.after_ms and abs(p.roe) < rule.abs_roe_below
