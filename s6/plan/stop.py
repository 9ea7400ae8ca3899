"""Where the stop belongs, whether it is to be moved there now, and which stops are too many."""

from __future__ import annotations

from decimal import Decimal

from s6 import rules
from s6.model.position import Position
from s6.model.waiting import LONGEST_MS, left_ms
from s6.plan.action import Action
from s6.plan.context import PlanContext, best_of
from s6.rules import StopDecision
from s6.rules.exact import exactly


def decision(context: PlanContext, k: Decimal) -> StopDecision:
    """The stop by the rules; a favourable tick that has come and gone since the last look still counts."""
    now = _decide(context, k, context.p.mark)
    peak = _peak(context)
    if peak is None or now.passed:
        return now
    then = _decide(context, k, peak)
    if then.price is None or (context.p.mark - then.price) * context.p.dir <= 0:
        return now._replace(level=max(now.level, then.level))
    return then._replace(passed=False)


def _peak(context: PlanContext) -> Decimal | None:
    best, p = best_of(context.view, context.p), context.p
    if best is None or p.paused:
        return None
    return best if (best - p.mark) * p.dir > 0 else None


def _decide(context: PlanContext, k: Decimal, mark: Decimal) -> StopDecision:
    p, stop = context.p, context.stop
    is_fut = p.market == "FUT"
    return rules.next_stop_price(
        side=p.side,
        entry=p.entry_price_avg,
        qty=p.qty,
        margin=p.isolated_margin_usdt,
        mark=mark,
        atr=context.view.features.atr or None,
        k=k,
        sl_prev=p.sl_price,
        level=p.sl_level,
        lock_steps=stop.lock_steps,
        tick=context.spec.tick,
        fallback_pct=stop.fallback_pct,
        anchor=(p.best_mark or None) if stop.anchor == "BEST" else None,
        liq_price=p.liq_price if is_fut and p.liq_price > 0 else None,
        liq_clearance=stop.liq_clearance,
    )


def move(context: PlanContext, decision: StopDecision) -> tuple[Action | None, int]:
    """The move to make now, and in how many ms to look again when one waits."""
    p, price, level = context.p, decision.price, decision.level
    if price is None:
        return None, 0
    if p.paused and p.sl_price is not None:
        price, level = p.sl_price, p.sl_level  # it stays where it is; only its quantity may change
    if p.sl_price is not None and left_ms(p.trail_not_before, context.now, LONGEST_MS):
        price, level = p.sl_price, p.sl_level  # S4 took no better one
    if p.sl_refusals == 1 and p.sl_fallback is not None and p.live_stop is None:
        price = p.sl_fallback
    price = _on_tick(context, price)
    guard = p.market == "SPOT" or _too_small(context, price)
    why = _why_move(context, decision, price, guard)
    if not why:
        return None, 0
    if p.live_stop is not None and (guard or decision.passed):
        return None, 0
    wait = _move_waits(context, why)
    if wait:
        return None, wait
    qty = rules.round_down(p.qty, context.spec.step)
    target = p.sl_order or ("" if guard else _in_its_place(p))
    return Action("STOP_MOVE", why, qty, p.sl_price, price, level, target=target, guard=guard), 0


def _in_its_place(p: Position) -> str:
    """A stop of this life that S4 holds although the books know no stop: it protects until it gives way to the move."""
    return next((o.client_order_id for o in p.orders if o.ours and o.kind == "SL" and o.life == p.life), "")


def _on_tick(context: PlanContext, price: Decimal) -> Decimal:
    """A price from before the tick changed, as S4 takes it now: rounded towards the mark, so never less protective."""
    p, tick = context.p, context.spec.tick
    fitting = rules.round_up(price, tick) if p.side == "LONG" else rules.round_down(price, tick)
    return fitting if fitting > 0 and (p.mark - fitting) * p.dir > 0 else price


def _why_move(context: PlanContext, decision: StopDecision, price: Decimal, guard: bool) -> str:
    p, live = context.p, context.p.live_stop
    if guard and live is None:
        if p.sl_price is None:
            return "FIRST"
        if not p.self_guarded and p.market == "FUT":
            return "TOO_SMALL"
    elif live is None:
        return "FIRST" if p.sl_price is None else "RESTORE"
    if not guard and live is not None and live.remaining != rules.round_down(p.qty, context.spec.step):
        return "RESIZE"
    if p.paused or p.sl_price is None or price == p.sl_price:
        return ""
    if decision.level > p.sl_level:
        return "LOCK"
    with exactly():
        far = abs(price - p.sl_price) * 10_000 >= context.stop.min_move_bps * p.sl_price
    return "TRAIL" if far else ""


def _move_waits(context: PlanContext, why: str) -> int:
    """Return in how many ms the move may be made (0: now). Moves of the price alone keep their distance in time."""
    p, least, now = context.p, context.stop.min_interval_ms, context.now
    wait = left_ms(p.sl_not_before, now, LONGEST_MS)
    return max(wait, left_ms(p.sl_ts + least, now, least)) if why == "TRAIL" else wait


def _too_small(context: PlanContext, price: Decimal) -> bool:
    """Whether S4 would refuse a stop for what is held: below the minimum quantity, or notional at the stop's price."""
    qty = rules.round_down(context.p.qty, context.spec.step)
    with exactly():
        return qty < context.spec.min_qty or qty * price < context.spec.min_notional or qty == 0


def strays(p: Position, now: int) -> list[Action]:
    """Stops of ours beside the one that counts: left by an earlier life, or come late."""
    if left_ms(p.sl_not_before, now, LONGEST_MS):
        return []
    stops = (o.client_order_id for o in p.orders if o.ours and o.kind == "SL")
    return [Action("CLEANUP", "STRAY_STOP", target=name) for name in stops if name != p.sl_order]
