"""Drives one operation as far as it goes without waiting. Each step is recorded before and after S4 is asked.

Any process may call ``advance`` at any time, any number of times: the record says where the operation stands, the
lock keeps two processes from asking at once, and the same ids make a repeated request harmless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, NamedTuple, Protocol

from s6.engine import transitions as to
from s6.engine.governor import Governor, Outcome
from s6.engine.operation import order_of
from s6.engine.recorder import Change, Recorder
from s6.engine.results import Results
from s6.engine.step import Raised, Step
from s6.locks import HeldPosition, held_position, still_held
from s6.model.answers import Placed
from s6.model.bundle import Execution
from s6.model.commit import Loaded, Sample
from s6.model.market import MarketView
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.waiting import LONGEST_MS, is_over, left_ms
from s6.model.wire import MalformedMessage, OrderResult
from s6.ports import (
    BundleSource,
    Clock,
    LockBusy,
    LockLost,
    NeighbourUnavailable,
    Orders,
    PositionLocks,
    Positions,
    StateUnavailable,
    UnexpectedAnswer,
)

log = logging.getLogger(__name__)

BUSY_MS: Final = 25
LOOK_AGAIN_MS: Final = 250
"""How long after its decision an order is sent without a second look."""
MAX_STEPS: Final = 12
FRESH_MS: Final = 500
"""So long after it was taken a lock leaves time for a decision and all that may hold it up."""
SCALING: Final = ("ADD", "TP_PARTIAL", "RISK_DOWNGRADE")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation got.

    ``DONE``: it needs nothing more. ``WAIT``: look again in ``wait_ms`` (a result may come sooner). ``BUSY``: another
    process holds the position's lock.
    """

    kind: Literal["DONE", "WAIT", "BUSY"]
    wait_ms: int = 0
    stage: str = ""


class Advance(NamedTuple):
    """How far an operation got, and what was found to be done after its end (None: nothing was looked for)."""

    progress: Progress
    after: Outcome | None


class ExecutorState(PositionLocks, Positions, Protocol):
    """What driving an operation needs of the state."""


class Executor:
    """``governor`` is asked whether what waits is still to be done, and to evaluate when an operation has ended."""

    def __init__(
        self,
        state: ExecutorState,
        orders: Orders,
        bundles: BundleSource,
        results: Results,
        recorder: Recorder,
        governor: Governor,
        clock: Clock,
        rng: Random | None = None,
    ) -> None:
        self._state = state
        self._orders = orders
        self._bundles = bundles
        self._results = results
        self._recorder = recorder
        self._governor = governor
        self._clock = clock
        self._rng = rng or Random()

    def advance(self, position_id: str, op_id: str) -> Progress:
        """Take the operation as far as it goes now. Returns its progress. Raises ``StateUnavailable``."""
        try:
            with held_position(self._state, self._recorder.alerts, self._clock, position_id) as held:
                advance = self.under_lock(held, op_id)
        except (LockBusy, LockLost):
            return Progress("BUSY", BUSY_MS + self._rng.randrange(BUSY_MS))
        self.follow(position_id, advance.after)
        return advance.progress

    def under_lock(self, held: HeldPosition, op_id: str, view: MarketView | None = None) -> Advance:
        """Take the operation of a position that the caller has locked as far as it goes now, and look what follows.

        ``view`` is the market if the caller has read it just now. Call ``follow`` with what was found, without the
        lock. Raises ``LockLost``, ``StateUnavailable``.
        """
        progress, loaded = self._run(held, op_id)
        had_one = held.loaded is not None and held.loaded.op is not None
        return Advance(progress, self._look_on(held, loaded, view) if progress.kind == "DONE" and had_one else None)

    def _look_on(self, held: HeldPosition, loaded: Loaded | None, view: MarketView | None) -> Outcome:
        """Evaluate under the same lock, if it was taken just now: what follows may need most of its time."""
        if loaded is None or self._clock.steady_ms() - held.since > FRESH_MS:
            return Outcome("BUSY")
        try:
            return self._governor.under_lock(loaded.position.position_id, held.token, "hint", loaded, view)
        except (LockLost, StateUnavailable) as error:
            log.warning("%s is evaluated later: %s", loaded.position.position_id, error)
            return Outcome("BUSY")

    def follow(self, position_id: str, after: Outcome | None) -> None:
        """Go on from what was found after an operation's end. Call it without the lock."""
        if after is not None and after.kind == "BUSY":
            self._governor.evaluate_soon(position_id)
        elif after is not None:
            self._governor.follow_soon(position_id, after)

    def _run(self, held: HeldPosition, op_id: str) -> tuple[Progress, Loaded | None]:
        loaded = held.loaded
        for _ in range(MAX_STEPS):
            if loaded is None or loaded.op is None or loaded.op.op_id != op_id:
                return Progress("DONE"), loaded
            position, op = loaded.position, loaded.op
            if position.unverified_from:  # it goes on once S4 has been asked, which the evaluation that follows sees to
                return Progress("DONE"), loaded
            now = self._clock.now_ms()
            wait = left_ms(op.not_before, now, LONGEST_MS)
            if not wait and op.stage == "AWAIT_CANCEL":
                wait = left_ms(op.deadline, now, self._execution().cancel_wait_ms)
            if wait:
                return Progress("WAIT", wait, op.stage), loaded
            loaded = self._step(position, op, held, now)
        return Progress("WAIT", BUSY_MS), loaded

    def _step(self, position: Position, op: Operation, held: HeldPosition, now: int) -> Loaded | None:
        """Take one step with S4. Returns the position and its operation afterwards."""
        try:
            if op.stage == "CANCEL":
                return self._cancel(position, op, held)
            if op.stage == "PLACE":
                return self._place(position, op, held, now)
            return self._check(position, op, held.token)
        except NeighbourUnavailable as error:
            delay = min(error.retry_after_ms or self.backoff(op.attempts), LONGEST_MS)
            alerts, retry = _about(op, error), self._execution().retry
            return self._write(position, op, held.token, lambda p, t: to.postponed(p, op, delay, alerts, retry, t))

    def supersede(self, position_id: str, op_id: str) -> None:
        """End an operation that waits and is no longer to be done, or stands in the way of something more urgent.

        S4 is asked first whether it has the order; when it does not answer, the order stays PENDING and is asked about
        later. Raises ``StateUnavailable``.
        """
        with (
            suppress(LockBusy, LockLost),
            held_position(self._state, self._recorder.alerts, self._clock, position_id) as held,
        ):
            if held.loaded is None or held.loaded.op is None or held.loaded.op.op_id != op_id:
                return
            position, op = held.loaded.position, held.loaded.op
            try:
                if op.order is not None and op.stage == "PLACE":
                    self._drop(position, op, op.order, held.token)
                    return
            except NeighbourUnavailable as error:
                log.warning("%s: %s gives way before S4 has said what became of it: %s", position_id, op.op_id, error)
            self._write(position, op, held.token, lambda p, _: to.superseded(p, op))

    def _drop(self, position: Position, op: Operation, order: Order, token: str) -> Loaded | None:
        """Give an order up, unless S4 has it: the results say so, or S4 does. Raises ``NeighbourUnavailable``."""
        known = self._known(position, order).status
        if known not in ("PENDING", "REJECTED") or self._orders.query(order.client_order_id) is not None:
            return self._accepted(position, op, token)
        return self._write(position, op, token, lambda p, _: to.abandoned(p, op))

    def backoff(self, attempts: int) -> int:
        """Return a delay in ms: ``base_ms * 2^attempts`` up to ``cap_ms``, times a random factor in [0.5, 1)."""
        retry = self._execution().retry
        full = min(retry.cap_ms, retry.base_ms * 2 ** min(attempts, 20))
        return max(1, int(full * (0.5 + self._rng.random() / 2)))

    def _execution(self) -> Execution:
        bundle = self._bundles.latest or self._bundles.current()
        return bundle.execution if bundle else Execution()

    # -- the old order -----------------------------------------------------------------------------------------

    def _cancel(self, position: Position, op: Operation, held: HeldPosition) -> Loaded | None:
        self._sent(op)
        still_held(held, self._clock)
        status = self._orders.cancel(position, op.target, op.intent).status
        if status == "PENDING":
            wait = self._execution().cancel_wait_ms
            return self._write(position, op, held.token, lambda p, t: to.cancel_pending(p, op, wait, t))
        if status in ("CANCELED", "EXPIRED", "REJECTED"):
            return self._write(position, op, held.token, lambda p, t: to.cancel_confirmed(p, op, t))
        return self._write(position, op, held.token, lambda p, _: to.unclear(p, op))

    def _check(self, position: Position, op: Operation, token: str) -> Loaded | None:
        """Ask S4 for the old order, book the answer, and go on from there."""
        result = self._orders.query(op.target)
        if result is None:
            return self._write(position, op, token, lambda p, t: to.cancel_confirmed(p, op, t))
        self._book(op, result)
        if result.status == "FILLED":
            return self._write(position, op, token, lambda p, _: to.cancel_lost_to_fill(p, op))
        if result.status in ("CANCELED", "EXPIRED", "REJECTED"):
            return self._write(position, op, token, lambda p, t: to.cancel_confirmed(p, op, t))
        retry = self._execution().retry
        return self._write(position, op, token, lambda p, t: to.cancel_failed(p, op, retry, t))

    def _book(self, op: Operation, result: OrderResult) -> None:
        try:
            self._results.apply(result, {}, hint=False)
        except MalformedMessage as error:  # its status still decides how the operation goes on
            text = f"{result.client_order_id}: {error}"
            self._recorder.publish(op.position_id, (("ERROR", "RECONCILE", text),))

    # -- the new order -----------------------------------------------------------------------------------------

    def _place(self, position: Position, op: Operation, held: HeldPosition, now: int) -> Loaded | None:
        order = op.order
        if order is None:
            return self._write(position, op, held.token, lambda p, t: _freeze(p, op, t))
        known = self._known(position, order)
        if not position.is_current(order):
            return self._place_nothing(position, op, known, held.token)
        if known.status not in ("PENDING", "REJECTED"):
            return self._accepted(position, op, held.token)
        waited = op.attempts > 0 or is_over(op.started_ts, LOOK_AGAIN_MS + 1, now)
        if waited and op.kind in SCALING and not self._governor.still_wanted(position, op):
            return self._drop(position, op, order, held.token)
        if not op.target:
            self._sent(op)
        still_held(held, self._clock)
        answer = self._orders.place(position, order)
        if isinstance(answer, Placed) or self._have_it(answer.reason, order):
            return self._accepted(position, op, held.token)
        retry = self._execution().retry
        return self._write(position, op, held.token, lambda p, t: to.refused(p, op, answer.reason, retry, t))

    def _place_nothing(self, position: Position, op: Operation, known: Order, token: str) -> Loaded | None:
        """Do not place a stop whose life is over. It may have been sent already: only S4 knows."""
        taken = known.status not in ("PENDING", "REJECTED")
        if op.kind == "STOP_MOVE" and (taken or self._orders.query(known.client_order_id) is not None):
            return self._accepted(position, op, token)
        return self._write(position, op, token, lambda p, _: to.nothing_left(p, op))

    def _have_it(self, reason: str, order: Order) -> bool:
        """Return whether S4 refused an order because it has one under this id already; its results say what it is."""
        return reason == "ID_CONFLICT" and self._orders.query(order.client_order_id) is not None

    def _accepted(self, position: Position, op: Operation, token: str) -> Loaded | None:
        order = op.order
        assert order is not None
        retry = self._execution().retry

        def taken(p: Position, now: int) -> Step:
            known = self._known(p, order)
            if op.kind == "STOP_MOVE" and not p.is_current(order):
                return to.accepted_after_close(p, op, known, now)
            return to.accepted(p, op, known, retry, now)

        return self._write(position, op, token, taken)

    def _known(self, position: Position, order: Order) -> Order:
        """Return the order as the results have left it by now."""
        live = position.order(order.client_order_id)
        return live or self._state.seen_order(position.position_id, order.client_order_id) or order

    # -- writing -----------------------------------------------------------------------------------------------

    def _sent(self, op: Operation) -> None:
        if op.tick_ts and not op.attempts:
            elapsed = (self._clock.now_ms() - op.tick_ts) / 1000
            self._recorder.publish(op.position_id, (), (Sample("observe", "s6_reaction_seconds", max(elapsed, 0.0)),))

    def _write(
        self, position: Position, op: Operation, token: str, transition: Callable[[Position, int], Step]
    ) -> Loaded | None:
        """Apply a transition to the position as it is now, unless the operation has moved on meanwhile.

        Returns what stands afterwards.
        """

        def change(loaded: Loaded) -> Change | None:
            if loaded.op != op:
                return None
            now = self._clock.now_ms()
            step = transition(loaded.position, now)
            return Change(
                step.position,
                step.op,
                now,
                token=token,
                phase="AFTER" if step.op is None else None,
                cause=f"{op.kind} {step.outcome}".strip(),
                outcome=step.outcome,
                orders=step.orders,
                events=step.events,
                alerts=step.alerts,
                samples=step.samples,
            )

        return self._recorder.update(op.position_id, change, loaded=Loaded(position, op))


def _freeze(position: Position, op: Operation, now: int) -> Step:
    order = order_of(position, op, now)
    return to.frozen(position, op, order) if order is not None else to.nothing_left(position, op)


def _about(op: Operation, error: NeighbourUnavailable) -> tuple[Raised, ...]:
    """What people are to hear of an answer that cannot be used, beside that S4 is down."""
    if isinstance(error, UnexpectedAnswer) and op.attempts >= 2:
        return (("ERROR", "S4_UNEXPECTED", f"{op.kind} {op.stage}: {error}, {op.attempts + 1} times; going on"),)
    if error.retry_after_ms is not None and error.retry_after_ms > LONGEST_MS:
        text = f"{op.kind} {op.stage}: S4 wants {error.retry_after_ms // 1000} s of rest; asked again in 60 s"
        return (("ERROR", "S4_RETRY_AFTER", text),)
    return ()
