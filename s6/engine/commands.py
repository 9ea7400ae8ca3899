"""Carries out what operators ask of one position: EVAL, PLAN, EXIT, PAUSE, RESUME (CONTRACT §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from s6.booking import write_off
from s6.engine.governor import Governor, Outcome
from s6.engine.operation import ORDER_KIND
from s6.engine.recorder import Change, Recorder
from s6.engine.step import Step
from s6.engine.transitions import position_closed
from s6.locks import held_position
from s6.model.commit import Loaded
from s6.model.operation import Operation
from s6.model.position import Position
from s6.model.types import closing_side, opening_side
from s6.plan import Action, Plan
from s6.ports import (
    BundleSource,
    Clock,
    Hints,
    LockBusy,
    LockLost,
    PositionLocks,
    Positions,
    StateUnavailable,
)

RETRY_AFTER_S: Final = 1


class NotFound(Exception):
    """No such position."""


class Busy(Exception):
    """Another process holds the position's lock, or an operation is in flight."""

    retry_after_s = RETRY_AFTER_S


class Mismatch(Exception):
    """Symbol or market disagree with the position; ``fields`` names each with what is allowed."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(", ".join(fields))
        self.fields = fields


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan as operators see it: its actions, and the requests to S4 that they stand for."""

    plan_id: str
    position: Position
    actions: tuple[Action, ...]
    op: Operation | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the body of the answer."""
        return {
            "plan": {"plan_id": self.plan_id, "actions": [_shown(a) for a in self.actions]},
            "orders": [request for a in self.actions for request in self._requests(a)],
            "position_id": self.position.position_id,
            "status": self.position.status,
            "paused": self.position.paused,
        }

    def _requests(self, action: Action) -> list[dict[str, object]]:
        p = self.position
        requests: list[dict[str, object]] = []
        if action.target:
            requests.append({"kind": "CANCEL", "target": action.target})
        if action.type == "STOP_MOVE" and not action.guard:
            new: dict[str, object] = {"kind": "NEW", "type": "STOP_MARKET", "reduceOnly": True, "stopPx": action.new}
            requests.append({**new, "side": closing_side(p.side), "qty": action.qty})
        elif action.type in ORDER_KIND:
            adds = action.type == "ADD"
            side = opening_side(p.side) if adds else closing_side(p.side)
            new = {"kind": "NEW", "type": "MARKET", "reduceOnly": p.market == "FUT" and not adds}
            requests.append({**new, "side": side, "qty": action.qty})
        return requests


def _shown(action: Action) -> dict[str, object]:
    shown: dict[str, object] = {"type": action.type}
    if action.type == "STOP_MOVE":
        shown |= {"old": action.old, "new": action.new, "level": action.level}
    if action.qty:
        shown["qty"] = action.qty
    if action.rungs:
        shown["rungs"] = list(action.rungs)
    return shown | {"reason": action.reason}


class Acknowledgements(Protocol):
    """What the commands need of the alert log."""

    def get(self, alert_id: str) -> dict[str, object] | None: ...

    def ack(self, alert_id: str, *, by: str, note: str = "") -> dict[str, object] | None: ...


class CommandState(PositionLocks, Positions, Protocol):
    """What operators' commands need of the state."""


class OperatorCommands:
    def __init__(
        self,
        governor: Governor,
        state: CommandState,
        bundles: BundleSource,
        recorder: Recorder,
        hints: Hints,
        clock: Clock,
        alerts: Acknowledgements,
    ) -> None:
        self._governor = governor
        self._state = state
        self._bundles = bundles
        self._recorder = recorder
        self._hints = hints
        self._clock = clock
        self._alerts = alerts

    def execute(self, position_id: str, symbol: str, market: str, action: str, by: str, reason: str) -> PlanView:
        """Carry out one action. Returns the plan. Raises ``NotFound``, ``Busy``, ``Mismatch``, ``StateUnavailable``."""
        loaded = self._state.load(position_id)
        if loaded is None:
            raise NotFound(position_id)
        _agree(loaded.position, symbol, market)
        if action == "PLAN":
            return self._plan(loaded)
        cause = f"{action} by {by}: {reason}"[:500]
        try:
            with held_position(self._state, self._recorder.alerts, self._clock, position_id) as held:
                if held.loaded is None:
                    raise NotFound(position_id)
                view, outcome = self._under_lock(held.loaded, action, held.token, cause)
        except (LockBusy, LockLost):
            raise Busy(position_id) from None
        if outcome is not None:
            self._governor.follow(position_id, outcome)
        if view.position.unverified_from:
            self._hints.evaluate(position_id)  # which asks S4 first
        return view

    def acknowledge(self, alert_id: str, *, by: str, note: str = "") -> dict[str, object] | None:
        """Acknowledge an alert; for a position alert, also note it in the timeline. Idempotent.

        Returns the alert, or None if unknown. Raises ``RedisError``, ``StateUnavailable``.
        """
        known = self._alerts.get(alert_id)
        if known is not None and known["ack"] is None and known["position_id"]:
            cause = f"ACK by {by}: {note or known['detail']} ({known['severity']} {known['code']})"
            self.note(str(known["position_id"]), cause)
        return self._alerts.ack(alert_id, by=by, note=note)

    def note(self, position_id: str, cause: str) -> None:
        """Put an operator's word about a position into its history. Does nothing when there is no such position.

        Needs no lock: the position stays as it is. Raises ``StateUnavailable``.
        """

        def noted(loaded: Loaded) -> Change:
            return Change(*loaded, self._clock.now_ms(), phase="AFTER", cause=cause[:500])

        self._recorder.update(position_id, noted)

    def _plan(self, loaded: Loaded) -> PlanView:
        bundle = self._bundles.current()
        if bundle is None:
            raise StateUnavailable("no bundle is in force yet")
        plan, _ = self._governor.look(loaded, bundle)
        return _view(loaded.position, plan, None)

    def _under_lock(self, loaded: Loaded, action: str, token: str, cause: str) -> tuple[PlanView, Outcome | None]:
        position_id = loaded.position.position_id
        if action in ("PAUSE", "RESUME"):
            return self._pause(loaded, action == "PAUSE", token, cause), None
        if action == "WRITE_OFF":
            return self._write_off(loaded, token, cause), None
        if action == "EXIT" and loaded.position.is_open and not loaded.position.exit_reason:
            leaving = replace(loaded.position, exit_reason="OPERATOR", exit_not_before=0)
            written = self._write(leaving, loaded.op, token, cause)
            if written is None:
                raise Busy(position_id)
            if loaded.op is not None:  # the exit follows as soon as this operation has ended, or has given way
                self._hints.protect(position_id)
                leave = Action("EXIT", "OPERATOR", qty=written.qty)
                return _view(written, Plan(written, (leave,)), loaded.op), None
        elif loaded.op is not None:
            raise Busy(position_id)
        if self._bundles.current() is None:
            raise StateUnavailable("no bundle is in force yet")
        outcome = self._governor.under_lock(position_id, token, cause, self._state.load(position_id))
        if outcome.kind == "BUSY":
            raise Busy(position_id)
        return _view(loaded.position, outcome.plan or Plan(loaded.position), outcome.op), outcome

    def _write_off(self, loaded: Loaded, token: str, cause: str) -> PlanView:
        """Close the books of a position that the exchange no longer has, at the mark; cancel what may rest.

        The operation in flight ends with it. S4 is asked first what it may have sent, since nobody else would know; a
        stop that S4 has taken is published like any other.
        """
        position, op = loaded
        if not position.is_open:
            return _view(position, Plan(position), None)
        if op is not None:
            position = replace(position, unverified_from=min(position.unverified_from or op.number, op.number))
        bundle, now = self._bundles.current(), self._clock.now_ms()
        mark = self._governor.look(Loaded(position, None), bundle)[0].position.mark if bundle else position.mark
        booking = write_off(position, mark or position.entry_price_avg, now)
        step = Step(booking.position, None)
        if op is not None:
            step = position_closed(booking.position, op, position.order(op.client_order_id), now)
        written = self._recorder.write(
            Change(
                step.position,
                None,
                now,
                token=token,
                phase="RESULT",
                cause=cause,
                about=booking.order,
                orders=(booking.order, *step.orders),
                events=(*step.events, *booking.events),
                quotas=booking.quotas,
                samples=step.samples,
            )
        )
        if written is None:
            raise Busy(position.position_id)
        self._hints.evaluate(position.position_id)
        cancels = tuple(Action("CLEANUP", "CLOSED", target=o.client_order_id) for o in written.orders if o.ours)
        return _view(written, Plan(written, cancels), None)

    def _pause(self, loaded: Loaded, paused: bool, token: str, cause: str) -> PlanView:
        position = loaded.position
        if position.paused == paused or not position.is_open:
            return _view(position, Plan(position), None)
        written = self._write(replace(position, paused=paused), loaded.op, token, cause)
        if written is None:
            raise Busy(position.position_id)
        self._hints.evaluate(position.position_id)
        return _view(written, Plan(written), None)

    def _write(self, position: Position, op: Operation | None, token: str, cause: str) -> Position | None:
        return self._recorder.write(Change(position, op, self._clock.now_ms(), token=token, phase="AFTER", cause=cause))


def _agree(position: Position, symbol: str, market: str) -> None:
    fields = {}
    if symbol != position.symbol:
        fields["symbol"] = f"the position's is {position.symbol}"
    if market != position.market:
        fields["market"] = f"the position's is {position.market}"
    if fields:
        raise Mismatch(fields)


def _view(position: Position, plan: Plan, op: Operation | None) -> PlanView:
    plan_id = f"plan-{position.position_id}-{position.life}-{op.op_id if op else plan.position.op_count + 1}"
    return PlanView(plan_id, position, plan.actions, op)
