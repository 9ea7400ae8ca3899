"""``build_plan``: the one place where the rules meet. Pure: a position, a market, a bundle, a moment -> what to do.

Order within a plan: EXIT, RISK_DOWNGRADE, STOP_MOVE, TP_PARTIAL, ADD (CONTRACT §6). An EXIT stands alone, and a
RISK_DOWNGRADE forbids an ADD. The first action that needs S4 becomes an operation; the plan is made afresh after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from s6 import rules
from s6.booking import revalue
from s6.model.bundle import ActiveBundle, FutRules, GuardRules, SpotRules, StopRules, SymbolSpec
from s6.model.market import MarketView
from s6.model.position import Position
from s6.model.types import ZERO
from s6.rules import StopDecision
from s6.rules.exact import exactly

ActionType = Literal["EXIT", "RISK_DOWNGRADE", "STOP_MOVE", "TP_PARTIAL", "ADD", "CLEANUP", "STAGNATED"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. ``qty`` in base units; ``old``/``new``/``level`` belong to a STOP_MOVE, ``target`` is the
    client_order_id to cancel. ``guard`` marks what S6 holds itself (SPOT, or too small for S4): nothing to send."""

    type: ActionType
    reason: str
    qty: Decimal = ZERO
    old: Decimal | None = None
    new: Decimal | None = None
    level: int = 0
    target: str = ""
    guard: bool = False
    rungs: tuple[int, ...] = ()
    signal_id: str = ""
    margin: Decimal = ZERO
    step: Decimal = ZERO
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in order. ``recheck_ms``: something falls due by itself after that long (0: nothing)."""

    position: Position
    actions: tuple[Action, ...] = ()
    recheck_ms: int = 0
    regime_unknown: bool = False


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything one plan is made from, gathered once."""

    p: Position
    view: MarketView
    spec: SymbolSpec
    stop: StopRules
    fut: FutRules | None
    spot: SpotRules | None
    bundle: ActiveBundle
    mode: str
    now: int

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
        marks = [tick.mid if now - tick.ts > bundle.health.market_stale_ms else tick.mark]
    position = revalue(position, marks[0] if marks else position.mark)
    if not position.is_open or not position.qty:
        return position
    best = _best_of(view, position)
    if best is not None:
        marks.append(best)
    for mark in marks:
        if (mark - position.best_mark) * position.dir > 0:
            position = replace(position, best_mark=mark)
    roe = revalue(position, position.best_mark).roe
    if roe > position.best_roe:
        position = replace(position, best_roe=roe, best_ts=now, stagnated=False)
    return position


def _best_of(view: MarketView, p: Position) -> Decimal | None:
    """The best mark a tick has crossed to since the last look, if it came after the last entry or add."""
    if view.extremes is None:
        return None
    best, ts = view.extremes.best(p.side)
    return best if ts >= p.entry_ts else None


def build_plan(position: Position, view: MarketView, bundle: ActiveBundle, mode: str, now: int) -> Plan:
    """What to do about the position now. ``mode`` RISK_REDUCTION_ONLY: no adds.

    Nothing is done on the word of books that S4 may know better: nobody could tell a stop that is missing from one that
    nobody remembers.
    """
    p = _completed(observe(position, view, bundle, now), bundle)
    if p.unverified:
        return Plan(p)
    spec = bundle.symbols.get(p.symbol)
    if not p.is_open:
        return _cleanup(p, now)
    fut, spot = bundle.fut(p.symbol), bundle.spot(p.symbol)
    rule = fut if p.market == "FUT" else spot
    if spec is None or rule is None or p.mark <= 0 or not p.qty:
        return Plan(p)
    stop = fut.stop if p.market == "FUT" and fut else spot.guard if spot else GuardRules()
    is_fut = p.market == "FUT"
    case = _Case(p, view, spec, stop, fut if is_fut else None, None if is_fut else spot, bundle, mode, now)
    k, known = stop.k_for(view.features.regime or None)
    decision = _stop_decision(case, k)
    case = replace(case, p=_breach(case, decision))
    plan = _acting(case, decision)
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


def _acting(case: _Case, decision: StopDecision) -> Plan:
    p = case.p
    leave = _exit(case, decision)
    if leave is not None:
        if case.now < p.exit_not_before:
            return Plan(p, (), p.exit_not_before - case.now)
        qty = _closable(case)
        return Plan(p, (replace(leave, qty=qty),) if qty > 0 else ())
    actions: list[Action] = []
    recheck = 0
    if p.breach_ts:
        recheck = max(p.breach_ts + case.bundle.execution.breach_grace_ms - case.now, 1)
    downgrade = _risk(case)
    if downgrade is not None:
        actions.append(downgrade)
    move, wait = _stop_move(case, decision)
    recheck = min((w for w in (recheck, wait) if w), default=0)
    strays = _strays(p, case.now)
    if move is not None and p.live_stop is None and not p.sl_failures:
        actions += strays  # they go first, lest two stops live side by side
        strays = []
    if move is not None:
        actions.append(move)
    elif decision.price == p.sl_price and decision.level > p.sl_level:
        p = replace(p, sl_level=decision.level)
    actions += strays
    if not p.paused and not p.working and case.now >= p.hold_until:
        actions += [a for a in (_take_profit(case), None if downgrade else _add(case)) if a is not None]
    if _stagnates(case):
        actions.append(Action("STAGNATED", "NO_NEW_BEST"))
    return Plan(p, tuple(actions), recheck)


# --- closing ------------------------------------------------------------------------------------------------------


def _exit(case: _Case, decision: StopDecision) -> Action | None:
    """Why the whole position must go at market, if it must."""
    p = case.p
    if p.exiting:
        return Action("EXIT", p.exiting)
    if case.fut is not None:
        buffer = rules.liquidation_buffer(mark=p.mark, liq_price=p.liq_price, side=p.side)
        if buffer < case.fut.risk.lb_exit:
            return Action("EXIT", "LIQUIDATION_BUFFER")
    if p.sl_refusals >= 2:
        return Action("EXIT", "STOP_REFUSED", fatal=True)
    if p.market == "SPOT" or p.self_guarded:
        return Action("EXIT", "GUARD", guard=True) if _guard_crossed(case, decision) else None
    if decision.passed:
        if p.live_stop is None:
            return Action("EXIT", "STOP_PASSED")
        if case.now - p.breach_ts >= case.bundle.execution.breach_grace_ms:
            return Action("EXIT", "STOP_BREACHED")
    return None


def _guard_crossed(case: _Case, decision: StopDecision) -> bool:
    """A guard is crossed by any tick since the last look, not only by the newest one."""
    p, extremes = case.p, case.view.extremes
    if decision.passed:
        return True
    if p.sl_price is None or extremes is None:
        return False
    worst, ts = extremes.worst(p.side)
    return ts >= p.sl_ts and (worst - p.sl_price) * p.dir <= 0


def _breach(case: _Case, decision: StopDecision) -> Position:
    """Since when the mark has been beyond a stop that lives (0: it isn't)."""
    p = case.p
    if decision.passed and p.live_stop is not None:
        return p if p.breach_ts else replace(p, breach_ts=case.now)
    return replace(p, breach_ts=0) if p.breach_ts else p


def _closable(case: _Case) -> Decimal:
    """What an order may still close: whole steps of what is held, less what others already close."""
    with exactly():
        free = case.p.qty - case.p.closing_in_flight
    return rules.round_down(free, case.spec.step) if free > 0 else ZERO


def _risk(case: _Case) -> Action | None:
    p, fut = case.p, case.fut
    if fut is None or p.working or case.now < p.hold_until:
        return None
    risk = fut.risk
    buffer = rules.liquidation_buffer(mark=p.mark, liq_price=p.liq_price, side=p.side)
    if buffer >= risk.lb_min or p.reduces >= risk.max_reduces:
        return None
    if p.reduce_ts and case.now - p.reduce_ts < risk.cooldown_ms:
        return None
    qty = rules.reduce_decision(qty=p.qty, fraction=risk.reduce_fraction, mark=p.mark, **case.size)
    return Action("RISK_DOWNGRADE", "LIQUIDATION_BUFFER", qty=qty) if qty > 0 else None


# --- the stop -----------------------------------------------------------------------------------------------------


def _stop_decision(case: _Case, k: Decimal) -> StopDecision:
    """The stop by the rules; a favourable tick that has come and gone since the last look still counts."""
    now = _decide(case, k, case.p.mark)
    peak = _peak(case)
    if peak is None or now.passed:
        return now
    then = _decide(case, k, peak)
    if then.price is None or (case.p.mark - then.price) * case.p.dir <= 0:
        return now._replace(level=max(now.level, then.level))
    return then._replace(passed=False)


def _peak(case: _Case) -> Decimal | None:
    best, p = _best_of(case.view, case.p), case.p
    if best is None or p.paused:
        return None
    return best if (best - p.mark) * p.dir > 0 else None


def _decide(case: _Case, k: Decimal, mark: Decimal) -> StopDecision:
    p, stop = case.p, case.stop
    is_fut = p.market == "FUT"
    return rules.next_stop_price(
        side=p.side,
        entry=p.entry_price_avg,
        qty=p.qty,
        margin=p.isolated_margin_usdt,
        mark=mark,
        atr=case.view.features.atr or None,
        k=k,
        sl_prev=p.sl_price,
        level=p.sl_level,
        lock_steps=stop.lock_steps,
        tick=case.spec.tick,
        fallback_pct=stop.fallback_pct,
        anchor=(p.best_mark or None) if stop.anchor == "BEST" else None,
        liq_price=p.liq_price if is_fut and p.liq_price > 0 else None,
        liq_clearance=stop.liq_clearance,
    )


def _stop_move(case: _Case, decision: StopDecision) -> tuple[Action | None, int]:
    """The move to make now, and in how many ms to look again when one waits."""
    p, price, level = case.p, decision.price, decision.level
    if price is None:
        return None, 0
    if p.paused and p.sl_price is not None:
        price, level = p.sl_price, p.sl_level  # it stays where it is; only its quantity may change
    if p.sl_refusals == 1 and p.sl_fallback is not None and p.live_stop is None:
        price = p.sl_fallback
    price = _on_tick(case, price)
    guard = p.market == "SPOT" or _too_small(case, price)
    why = _why_move(case, decision, price, guard)
    if not why:
        return None, 0
    if p.live_stop is not None and (guard or decision.passed):
        return None, 0
    wait = _move_waits(case, why)
    if wait:
        return None, wait
    qty = rules.round_down(p.qty, case.spec.step)
    return Action("STOP_MOVE", why, qty, p.sl_price, price, level, target=p.sl_order, guard=guard), 0


def _on_tick(case: _Case, price: Decimal) -> Decimal:
    """A price from before the tick changed, as S4 takes it now: rounded towards the mark, so never less protective."""
    p, tick = case.p, case.spec.tick
    fitting = rules.round_up(price, tick) if p.side == "LONG" else rules.round_down(price, tick)
    return fitting if fitting > 0 and (p.mark - fitting) * p.dir > 0 else price


def _why_move(case: _Case, decision: StopDecision, price: Decimal, guard: bool) -> str:
    p, live = case.p, case.p.live_stop
    if guard and live is None:
        if p.sl_price is None:
            return "FIRST"
        if not p.self_guarded and p.market == "FUT":
            return "TOO_SMALL"
    elif live is None:
        return "FIRST" if p.sl_price is None else "RESTORE"
    if not guard and p.sl_qty != rules.round_down(p.qty, case.spec.step):
        return "RESIZE"
    if p.paused or p.sl_price is None or price == p.sl_price:
        return ""
    if decision.level > p.sl_level:
        return "LOCK"
    with exactly():
        far = abs(price - p.sl_price) * 10_000 >= case.stop.min_move_bps * p.sl_price
    return "TRAIL" if far else ""


def _move_waits(case: _Case, why: str) -> int:
    """In how many ms the move may be made; 0: now. Moves of the price alone keep their distance in time."""
    p, stop, now = case.p, case.stop, case.now
    waits = [p.sl_not_before - now]
    if why == "TRAIL":
        waits.append(p.sl_ts + stop.min_interval_ms - now)
    return max(0, *waits)


def _too_small(case: _Case, price: Decimal) -> bool:
    """Whether S4 would refuse a stop for what is held: below the minimum quantity, or notional at the stop's price."""
    qty = rules.round_down(case.p.qty, case.spec.step)
    with exactly():
        return qty < case.spec.min_qty or qty * price < case.spec.min_notional or qty == 0


# --- profits, adds, stagnation ------------------------------------------------------------------------------------


def _take_profit(case: _Case) -> Action | None:
    p = case.p
    ladder = case.fut.tp_ladder if case.fut else case.spot.tp_ladder if case.spot else ()
    if not ladder:
        return None
    decision = rules.tp_ladder_decision(roe=p.roe, ladder=ladder, done=p.tp_done, qty=p.qty, mark=p.mark, **case.size)
    if decision.qty <= 0:
        return None
    return Action("TP_PARTIAL", "RUNG", qty=decision.qty, rungs=tuple(decision.rungs))


def _add(case: _Case) -> Action | None:
    p = case.p
    rule = case.fut.add_on if case.fut else None
    if rule is None or case.mode != "NORMAL":
        return None
    signal = case.view.features
    expired = case.now - signal.signal_ts > rule.signal_ttl_ms
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
        **case.size,
    )
    if decision.qty <= 0:
        return None
    margin = rules.initial_margin(qty=decision.qty, price=p.mark, leverage=p.leverage)
    return Action("ADD", "SIGNAL", qty=decision.qty, signal_id=signal.signal_id, margin=margin)


def _stagnates(case: _Case) -> bool:
    p = case.p
    rule = case.fut.stagnation if case.fut else case.spot.stagnation if case.spot else None
    if rule is None or p.stagnated:
        return False
    return case.now - p.best_ts >= rule.after_ms and abs(p.roe) < rule.abs_roe_below


def _strays(p: Position, now: int) -> list[Action]:
    """Stops of ours beside the one that counts: left by an earlier life, or come late."""
    if now < p.sl_not_before:
        return []
    stops = (o.client_order_id for o in p.orders if o.ours and o.kind == "SL")
    return [Action("CLEANUP", "STRAY_STOP", target=name) for name in stops if name != p.sl_order]


def _cleanup(p: Position, now: int) -> Plan:
    """Nothing of ours may outlive the position. A cancel that S4 would not carry out is tried again after a while."""
    mine = tuple(Action("CLEANUP", "CLOSED", target=o.client_order_id) for o in p.orders if o.ours)
    if mine and now < p.sl_not_before:
        return Plan(p, (), p.sl_not_before - now)
    return Plan(p, mine)
