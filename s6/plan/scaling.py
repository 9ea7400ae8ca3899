"""Scaling out by take-profits and in by adds; and positions that do neither."""

from __future__ import annotations

from decimal import Decimal

from s6 import rules
from s6.model import jsonx
from s6.model.position import Order, Position
from s6.model.waiting import APART_MS, LONGEST_MS, left_ms
from s6.plan.action import Action
from s6.plan.context import PlanContext
from s6.plan.terms import last_terms
from s6.rules.exact import exactly


def actions(context: PlanContext, *, reducing: bool) -> list[Action]:
    """Return the profit to take and the add to make, if any; ``reducing`` forbids the add.

    Nothing scales while people have paused the position, while an order of ours works, after a refusal, or by terms
    that the bundle in force no longer has.
    """
    p = context.p
    if p.paused or p.working or left_ms(p.hold_until, context.now, LONGEST_MS) or not context.current:
        return []
    return [action for action in (take_profit(context), None if reducing else add(context)) if action is not None]


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
    rungs = tuple(decision.rungs)
    return Action("TP_PARTIAL", "RUNG", qty=decision.qty, rungs=rungs, rung_roe=max(ladder[i].roe for i in rungs))


def rungs_fitting(p: Position, order: Order) -> tuple[int, ...]:
    """Return the rungs that a TP was most likely sent for, by its quantity: of the next ones so many as S6 closes
    nearest to that quantity for. Where nobody knows what S6 closes for a rung, it is the next one.

    ``p`` holds what the order has left of it so far.
    """
    spec = last_terms(p)
    left = tuple(index for index in range(len(jsonx.loads(p.ladder or "[]"))) if index not in p.tp_done)
    with exactly():
        held = p.qty + order.filled
    if spec is None or held <= 0 or p.mark <= 0:
        return left[:1]
    ladder = spec.fut.tp_ladder if p.market == "FUT" else spec.spot.tp_ladder
    size = {"step": spec.step, "min_qty": spec.min_qty, "min_notional": spec.min_notional, "mark": p.mark}
    takes = [
        rules.tp_ladder_decision(rung.roe, ladder, p.tp_done, held, **size)
        for index, rung in enumerate(ladder)
        if index not in p.tp_done
    ]
    fits = min(takes, key=lambda take: abs(take.qty - order.qty), default=None)
    return fits.rungs if fits and fits.qty else left[:1]


def add(context: PlanContext) -> Action | None:
    p = context.p
    rule = context.fut.add_on if context.fut else None
    if rule is None or context.mode != "NORMAL":
        return None
    signal = context.view.features
    expired = not -APART_MS <= context.now - signal.signal_ts <= rule.signal_ttl_ms
    if not signal.signal_id or signal.signal_id in p.used_signals or expired:
        return None
    if signal.signal_ts <= max(
        p.opened_ts, p.rebuilt_ts
    ):  # older than the position, or nobody knows whether it was used
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
    if decision.qty <= 0 or _nears_liquidation(context, decision.qty):
        return None
    margin = rules.initial_margin(qty=decision.qty, price=p.mark, leverage=p.leverage)
    return Action("ADD", "SIGNAL", qty=decision.qty, signal_id=signal.signal_id, margin=margin)


def _nears_liquidation(context: PlanContext, qty: Decimal) -> bool:
    """Whether the liquidation buffer is below ``lb_min``, now or after an add of ``qty`` at the mark."""
    p, fut = context.p, context.fut
    assert fut is not None
    mark, least = p.mark, fut.risk.lb_min
    if rules.liquidation_buffer(mark=mark, liq_price=p.liq_price, side=p.side) < least:
        return True
    entry = rules.average_entry(qty=p.qty, entry=p.entry_price_avg, add_qty=qty, add_price=mark)
    margin = rules.margin_after_add(margin=p.isolated_margin_usdt, add_qty=qty, add_price=mark, leverage=p.leverage)
    with exactly():
        whole = p.qty + qty
    liq = rules.liquidation_price(entry=entry, qty=whole, margin=margin, mmr=context.spec.mmr, side=p.side)
    return rules.liquidation_buffer(mark=mark, liq_price=liq, side=p.side) < least


def stagnates(context: PlanContext) -> bool:
    p = context.p
    rule = context.fut.stagnation if context.fut else context.spot.stagnation if context.spot else None
    if rule is None or p.stagnated:
        return False
    return context.now - p.best_ts >= rule.after_ms and abs(p.roe) < rule.abs_roe_below
