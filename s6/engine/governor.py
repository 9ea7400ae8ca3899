"""Evaluates one position: lock it, load it, plan, record the operation, hint at it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Final, Literal, Protocol

from s6 import keys
from s6.engine import transitions as to
from s6.engine.operation import begin, ids, order_of
from s6.engine.precedence import as_before, overtakes, same_decision
from s6.engine.recorder import Change, Recorder
from s6.locks import HeldPosition, held_position
from s6.model.bundle import ActiveBundle
from s6.model.commit import Loaded
from s6.model.documents import event
from s6.model.market import MarketView
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Phase
from s6.model.waiting import LONGEST_MS, left_ms
from s6.plan import Action, Plan, build_plan
from s6.ports import (
    Alerts,
    BundleSource,
    Clock,
    Gate,
    Hints,
    LockBusy,
    LockLost,
    Markets,
    PositionIndex,
    PositionLocks,
    Positions,
    Quotas,
    StateUnavailable,
)
from s6.rules.exact import exactly

BUSY_MS: Final = 40
ROUNDS: Final = 32
OutcomeKind = Literal["NOTHING", "STARTED", "IN_FLIGHT", "SUPERSEDES", "BUSY", "UNKNOWN", "NO_BUNDLE"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an evaluation led to.

    ``recheck_ms``: something falls due by itself after that long (0: nothing). ``unconfirmed``: orders that S4 must be
    asked about. ``unverified``: S4 must be asked what it has before anything is begun. SUPERSEDES: the operation in
    flight waits; it must end because something more urgent is to be begun, or because it is no longer to be done.
    STARTED: ``written`` is the position as it stands with the operation, ``view`` the market that it was decided on.
    """

    kind: OutcomeKind
    plan: Plan | None = None
    op: Operation | None = None
    recheck_ms: int = 0
    unconfirmed: tuple[str, ...] = ()
    unverified: bool = False
    written: Position | None = field(default=None, compare=False)
    view: MarketView | None = field(default=None, compare=False)

    def following(self, done: list[Action]) -> Outcome:
        """Return this outcome with ``done``, what was done at once before it, at the head of its plan."""
        if self.plan is None or not done:
            return self
        return replace(self, plan=replace(self.plan, actions=(*done, *self.plan.actions)))


class GovernorState(PositionLocks, Positions, PositionIndex, Markets, Quotas, Protocol):
    """What evaluating needs of the state."""


class Governor:
    def __init__(
        self,
        state: GovernorState,
        bundles: BundleSource,
        gate: Gate,
        recorder: Recorder,
        hints: Hints,
        clock: Clock,
        alerts: Alerts,
    ) -> None:
        self._state = state
        self._bundles = bundles
        self._gate = gate
        self._recorder = recorder
        self._hints = hints
        self._clock = clock
        self._alerts = alerts

    def evaluate(self, position_id: str, *, reason: str = "hint") -> Outcome:
        """Govern the position once, and hint at what was begun. Raises ``StateUnavailable``."""
        outcome = self.decide(position_id, reason=reason)
        self.follow(position_id, outcome)
        return outcome

    def decide(self, position_id: str, *, reason: str = "hint") -> Outcome:
        """Govern the position once. The caller carries out what was begun, or passes the outcome to ``follow``.

        Begins at most one operation; guards, which S6 holds itself, are moved at once. Raises ``StateUnavailable``.
        """
        try:
            with self.held(position_id) as held:
                return self.under_lock(position_id, held.token, reason, held.loaded)
        except (LockBusy, LockLost):
            return Outcome("BUSY")

    def held(self, position_id: str) -> AbstractContextManager[HeldPosition]:
        """Hold the position's lock; see ``held_position``."""
        return held_position(self._state, self._alerts, self._clock, position_id)

    def evaluate_soon(self, position_id: str) -> None:
        """Evaluate now; hint at an evaluation instead if the position is busy, Redis away, or S4 to be asked first."""
        try:
            outcome = self.decide(position_id)
        except StateUnavailable:
            outcome = Outcome("BUSY")
        self.follow_soon(position_id, outcome)

    def follow_soon(self, position_id: str, outcome: Outcome) -> None:
        """Follow an evaluation of somebody who does not ask S4: hint at another one where that must be done first."""
        self.follow(position_id, outcome)
        if outcome.kind in ("BUSY", "SUPERSEDES") or outcome.unconfirmed or outcome.unverified:
            self._hints.evaluate(position_id, delay_ms=BUSY_MS)

    def follow(self, position_id: str, outcome: Outcome) -> None:
        """Hint at what an evaluation began, or at the next one when something falls due. Call it without the lock."""
        if outcome.op is not None and outcome.kind == "STARTED":
            self._hints.execute(position_id, outcome.op)
        elif outcome.op is not None and not outcome.unverified and outcome.op.at_rest(self._clock.now_ms()):
            self._hints.resume(position_id, outcome.op)
        elif outcome.recheck_ms:
            self._hints.evaluate(position_id, delay_ms=outcome.recheck_ms)

    def under_lock(
        self, position_id: str, token: str, reason: str, loaded: Loaded | None, view: MarketView | None = None
    ) -> Outcome:
        """Evaluate a position that the caller has locked and read, on a ``view`` of the market that was read just now.

        Raises ``LockLost``, ``StateUnavailable``.
        """
        bundle = self._bundles.current() if view is None else self._bundles.latest
        if bundle is None:
            return Outcome("NO_BUNDLE", unverified=loaded is not None and bool(loaded.position.unverified_from))
        done: list[Action] = []
        for _ in range(ROUNDS):
            if loaded is None:
                return Outcome("UNKNOWN")
            if loaded.op is not None:
                return self._in_flight(loaded.position, loaded.op, bundle)
            view = view or self._state.market(loaded.position.symbol, position_id)
            outcome = self._govern(loaded.position, view, bundle, token, reason, done)
            if outcome is not None:
                return outcome.following(done)
            loaded = self._state.load(position_id)
        return Outcome("BUSY")

    def still_wanted(self, position: Position, op: Operation) -> bool:
        """Return whether an order that waits would be decided on now: by the present state, rules, mode and market."""
        bundle = self._bundles.current()
        if bundle is None:
            return op.kind == "RISK_DOWNGRADE"
        plan, view = self.look(Loaded(as_before(position, op), None), bundle)
        wanted = next((action for action in plan.actions if same_decision(action, op)), None)
        return wanted is not None and self._may_begin(wanted, plan.position, view, bundle, op.client_order_id)

    def _in_flight(self, position: Position, op: Operation, bundle: ActiveBundle) -> Outcome:
        """What an operation in flight means for this evaluation: only one that waits gives way."""
        if position.unverified_from:
            return Outcome("IN_FLIGHT", op=op, unverified=True)
        now = self._clock.now_ms()
        if op.stage == "AWAIT_CANCEL" or not (left_ms(op.not_before, now, LONGEST_MS) or op.at_rest(now)):
            return Outcome("IN_FLIGHT", op=op)
        plan, _ = self.look(Loaded(as_before(position, op), None), bundle)
        dropped = op.kind in ("ADD", "TP_PARTIAL") and not any(same_decision(action, op) for action in plan.actions)
        overtaken = any(overtakes(action, plan.position, op) for action in plan.actions)
        return Outcome("SUPERSEDES" if dropped or overtaken else "IN_FLIGHT", op=op)

    def look(self, loaded: Loaded, bundle: ActiveBundle, view: MarketView | None = None) -> tuple[Plan, MarketView]:
        """Return the plan as it would be made now, and the market it is based on. Changes nothing."""
        position = loaded.position
        view = view or self._state.market(position.symbol, position.position_id)
        now = self._clock.now_ms()
        mode = self._gate.mode(position.market, view, now)
        return build_plan(position, view, bundle, mode, now), view

    def _govern(
        self, position: Position, view: MarketView, bundle: ActiveBundle, token: str, reason: str, done: list[Action]
    ) -> Outcome | None:
        """Plan and begin once. Returns None to look again: somebody wrote first, or something was ``done`` at once."""
        plan, _ = self.look(Loaded(position, None), bundle, view)
        for note in plan.notes:
            scope, name = note.scope, note.position_id
            self._alerts.raise_alert(note.severity, note.code, note.detail, position_id=name, scope=scope)
        now = self._clock.now_ms()
        action = next((a for a in plan.actions if self._may_begin(a, plan.position, view, bundle)), None)
        if action is None:
            return self._rest(position, plan, view, bundle, now, token)
        if action.type == "STAGNATED" or (action.type == "STOP_MOVE" and action.guard):
            done += self._at_once(plan, action, now, token)
            return None
        tick_ts = view.extremes.ts if view.extremes else 0
        after, op = begin(plan.position, action, now, tick_ts)
        orders: tuple[Order, ...] = ()
        if op.stage == "PLACE":
            order = order_of(after, op, now)
            if order is None:
                return Outcome("NOTHING", plan)
            after, op, orders = replace(after, orders=after.with_order(order)), replace(op, order=order), (order,)
        written = self._recorder.write(
            Change(
                after,
                op,
                now,
                token=token,
                phase="BEFORE",
                cause=f"{reason}: {action.type} {action.reason}",
                orders=orders,
                alerts=(("FATAL", "STOP_MOVE_FAILED", action.reason),) if action.fatal else (),
            )
        )
        if written is None:
            return None
        self._used(position.position_id, view)
        return Outcome("STARTED", plan, op, written=written, view=replace(view, extremes=None))

    def _may_begin(
        self, action: Action, position: Position, view: MarketView, bundle: ActiveBundle, client_order_id: str = ""
    ) -> bool:
        """Return whether an action may begin. An add needs mode NORMAL by now, a place among adds, and budget."""
        if action.type != "ADD":
            return True
        client_order_id = client_order_id or ids(position, position.op_count + 1, "ADD")[1]
        if self._gate.mode(position.market, view, self._clock.now_ms(), fresh=True) != "NORMAL":
            return False
        limits = bundle.limits
        budget = limits.fut_budget if position.market == "FUT" else limits.spot_budget
        return self._state.reserve_add(
            position.position_id,
            client_order_id,
            action.margin,
            limit=limits.adds_in_flight,
            room=None if budget is None else partial(self._room, position, budget),
        )

    def _room(self, position: Position, budget: Decimal) -> Decimal:
        with exactly():
            return budget - self._state.quota(keys.budget(position.market))

    def _rest(
        self, before: Position, plan: Plan, view: MarketView, bundle: ActiveBundle, now: int, token: str
    ) -> Outcome | None:
        """Send nothing: write watermarks that moved, and settle closed positions. Returns None to look again."""
        after = plan.position
        moved = _remembered(after) != _remembered(before)
        phase: Phase | None = "AFTER" if after.sl_level != before.sl_level else None  # the history shows levels
        if (
            moved
            and self._recorder.write(Change(after, None, now, token=token, phase=phase, cause=before.cause)) is None
        ):
            return None
        self._used(before.position_id, view)
        if after.unverified_from:
            return Outcome("NOTHING", plan, unverified=True)
        if not after.is_open and not any(o.ours for o in after.orders):
            self._state.settled(after)
        unconfirmed = after.unconfirmed(now, bundle.execution.cancel_wait_ms)
        return Outcome("NOTHING", plan, recheck_ms=plan.recheck_ms, unconfirmed=unconfirmed)

    def _at_once(self, plan: Plan, action: Action, now: int, token: str) -> tuple[Action, ...]:
        """Carry out by the commit alone what S6 holds itself: move a guard, mark a position as stagnated.

        Returns the action, or none when somebody else wrote first.
        """
        p = plan.position
        if action.type == "STAGNATED":
            after = replace(p, stagnated=True)
            data = {"best_roe": p.best_roe, "best_ts": p.best_ts, "roe": p.roe}
            published = event(p, "STAGNATED", str(p.best_ts), now, p.qty, p.mark, action.reason, data)
        else:
            number = p.op_count + 1
            after = replace(
                p,
                op_count=number,
                sl_fallback=p.sl_price,
                sl_price=action.new,
                sl_level=max(p.sl_level, action.level),
                sl_qty=p.qty,
                sl_ts=now,
                self_guarded=p.market == "FUT",
            )
            _, op = begin(p, action, now)
            published = to.stop_event(after, op, f"guard-{number}", now)
        cause = f"{action.type} {action.reason}"
        written = self._recorder.write(
            Change(after, None, now, token=token, before=p, phase="AFTER", cause=cause, events=(published,))
        )
        return (action,) if written is not None else ()

    def _used(self, position_id: str, view: MarketView) -> None:
        if view.extremes is not None:
            self._state.clear_crossing(position_id, view.extremes)


def _remembered(p: Position) -> tuple[object, ...]:
    """Return what must be written although nothing is sent."""
    return (
        p.best_mark,
        p.best_roe,
        p.best_ts,
        p.stagnated,
        p.breach_ts,
        p.sl_level,
        p.ladder,
        p.terms,
        p.bundle_version,
    )
