"""Brings a position's orders in line with what S4 says of them (CONTRACT §3.3): at a cold start, for unconfirmed
orders, and for positions whose newest steps were lost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from s6.engine.order_identity import OrderSlot, claimed, lives_of, slots
from s6.engine.recorder import Change, Recorder
from s6.engine.results import Results
from s6.engine.transitions import stop_event
from s6.model.commit import Loaded
from s6.model.operation import AHEAD, Operation
from s6.model.position import Order, Position
from s6.model.types import ZERO, Market
from s6.model.wire import MalformedMessage, OrderResult
from s6.ports import Alerts, Clock, Markets, Orders, Positions, StateUnavailable

#: After so many operations in a row that S4 does not know, there are no more. SPOT's guard moves without S4.
UNKNOWN_IN_A_ROW: Final[dict[Market, int]] = {"FUT": 3, "SPOT": 8}


#: Losses that are being asked about.
REMEMBERED: Final = 5_000
#: How often one ``verify`` begins anew because the position was lost once more.
LOOKS: Final = 16

_Answers = dict[str, OrderResult | None]
_Loss = tuple[str, int, int]


class _Sent(NamedTuple):
    """An order that S4 has under an id of ours."""

    slot: OrderSlot
    result: OrderResult


class ReconcilerState(Positions, Markets, Protocol):
    """What reconciling needs of the state."""


class Reconciler:
    def __init__(
        self, state: ReconcilerState, orders: Orders, results: Results, recorder: Recorder, clock: Clock, alerts: Alerts
    ) -> None:
        self._state = state
        self._orders = orders
        self._results = results
        self._recorder = recorder
        self.clock = clock
        self._alerts = alerts
        self._answers: dict[_Loss, _Answers] = {}

    def reconcile_position(self, position_id: str, *, hint: bool = True) -> int:
        """Ask S4 about every live order of the position, but for the one in flight, and book the answers.

        Returns how many were asked about. Raises ``NeighbourUnavailable``, ``StateUnavailable``.
        """
        loaded = self._state.load(position_id)
        if loaded is None:
            return 0
        in_flight = loaded.op.client_order_id if loaded.op is not None else ""
        asked = [o for o in loaded.position.orders if o.client_order_id != in_flight]
        for order in asked:
            self.reconcile_order(position_id, order, hint=hint)
        return len(asked)

    def doubt(self, position_id: str, number: int) -> None:
        """Govern a position only after ``verify``: S4 may have orders of operations from ``number`` on that the books
        lack. Raises ``StateUnavailable``."""

        def doubted(loaded: Loaded) -> Change | None:
            p, first = loaded.position, max(number, 1)
            if 0 < p.unverified_from <= first:
                return None
            return Change(replace(p, unverified_from=first), loaded.op, self.clock.now_ms())

        self._recorder.update(position_id, doubted)

    def verify(self, position_id: str) -> int:
        """Book all that S4 has of an unverified position, so that it may be governed again.

        Asks first for orders that nobody recorded, by the ids they must have, then for those in the books. It may be
        repeated, run twice at once and die anywhere. It hints at nothing: evaluate the position afterwards.

        Returns how many orders were asked for. Raises ``NeighbourUnavailable``, ``StateUnavailable``: the position then
        stays unverified, and what S4 has answered so far is not asked again.
        """
        asked = 0
        for _ in range(LOOKS):
            loaded = self._state.load(position_id)
            if loaded is None or not loaded.position.unverified_from:
                return asked
            answers = self._answers_about(loaded.position)
            before = len(answers)
            sent = self._unrecorded(loaded.position, answers)
            asked += len(answers) - before + self._in_flight(loaded, sent)
            for one in sent:
                self._adopt(position_id, one)
            asked += self.reconcile_position(position_id, hint=False)
            self._mark_verified(loaded.position, sent)
            self._answers.pop(_loss(loaded.position), None)
            self._results.unpark(position_id)
        raise StateUnavailable(f"{position_id} is still unverified after {LOOKS} looks: it kept being lost")

    def _answers_about(self, p: Position) -> _Answers:
        """Return what S4 has answered since this loss, so that an S4 that fails now and then is not asked all anew."""
        if len(self._answers) >= REMEMBERED:
            self._answers.clear()
        return self._answers.setdefault(_loss(p), {})

    def _unrecorded(self, p: Position, answers: _Answers) -> list[_Sent]:
        """Return what S4 has under the ids of operations from ``unverified_from`` on.

        After each loss the numbers go on from ``AHEAD`` further, so a position lost more than once is asked for there.
        """
        sent: list[_Sent] = []
        for life in lives_of(p):
            for first in range(p.unverified_from, max(p.op_count, p.unverified_from) + 1, AHEAD):
                number, misses = first, 0
                while misses < UNKNOWN_IN_A_ROW[p.market]:
                    misses += 1
                    for slot in slots(p, life, number):
                        name = slot.client_order_id
                        if name not in answers:
                            answers[name] = self._orders.query(name)
                        result = answers[name]
                        if result is not None and result.position_id == p.position_id:
                            sent.append(_Sent(slot, result))
                            misses = 0
                    number += 1
        return sent

    def _in_flight(self, loaded: Loaded, sent: list[_Sent]) -> int:
        """Settle the operation in flight: end it if later ones were sent, else book its order if S4 has it.

        Returns how many orders S4 was asked for.
        """
        op = loaded.op
        if op is None:
            return 0
        later = any(one.slot.number > op.number and one.slot.client_order_id != op.client_order_id for one in sent)
        result = self._orders.query(op.client_order_id) if op.kind != "CLEANUP" else None
        if later:
            self._end_operation(loaded.position.position_id, op, result)
        elif result is not None:
            self._book(loaded.position.position_id, result, hint=False)
        return int(op.kind != "CLEANUP")

    def _end_operation(self, position_id: str, op: Operation, result: OrderResult | None) -> None:
        """End an operation whose outcome was lost. The price of a stop that S4 accepted in it stays locked, and its
        order stays recorded as ours in case it turns up."""
        if result is not None:
            self._book(position_id, result, hint=False)

        def ended(loaded: Loaded) -> Change | None:
            p, in_flight = loaded
            if in_flight is None or in_flight.op_id != op.op_id:
                return None
            now = self.clock.now_ms()
            events: tuple[dict[str, str], ...] = ()
            if result is None or in_flight.client_order_id != op.client_order_id:
                p = _without(p, in_flight.client_order_id)
            elif op.kind == "STOP_MOVE" and result.status != "REJECTED":
                moved = replace(p, sl_price=op.new_price, sl_level=max(p.sl_level, op.level))
                events = (stop_event(replace(moved, sl_qty=result.qty), op, op.client_order_id, now),)
                p = moved if op.op_id.startswith(f"{p.life}-") else p
            return Change(p, None, now, phase="AFTER", cause=f"{op.kind} over", events=events)

        self._recorder.update(position_id, ended)

    def _adopt(self, position_id: str, sent: _Sent) -> None:
        """Record an order of ours that the books lack, then book its result. Fills already booked are not counted
        again."""

        def claim(loaded: Loaded) -> Change | None:
            known = self._known(loaded.position, sent.slot.client_order_id)
            if known is None or known.ours:
                return None  # an unknown order is recognised when its result is booked
            signal_id = self._state.market(loaded.position.symbol).features.signal_id
            p, order = claimed(loaded.position, known, sent.slot, signal_id)
            return Change(p, loaded.op, self.clock.now_ms(), orders=(order,))

        self._recorder.update(position_id, claim)
        self._book(position_id, sent.result, hint=False)

    def _known(self, p: Position, client_order_id: str) -> Order | None:
        return p.order(client_order_id) or self._state.seen_order(p.position_id, client_order_id)

    def _mark_verified(self, was: Position, sent: list[_Sent]) -> None:
        """Let the position be governed, unless it was lost again meanwhile or more was found missing."""
        last = max((one.slot.number for one in sent), default=0)

        def verified(loaded: Loaded) -> Change | None:
            p, op = loaded
            if _loss(p) != _loss(was):
                return None
            now = self.clock.now_ms()
            p = replace(
                _with_found_stop(p, op, sent, now), unverified_from=0, op_count=max(p.op_count, last), sl_failures=0
            )
            return Change(p, op, now, phase="AFTER", cause="VERIFIED")

        self._recorder.update(was.position_id, verified)

    def reconcile_order(self, position_id: str, order: Order, *, hint: bool = True) -> None:
        """Book what S4 says of one order. An order that S4 does not know is taken off the live ones.

        Raises ``NeighbourUnavailable``, ``StateUnavailable``.
        """
        result = self._orders.query(order.client_order_id)
        if result is None:
            self._take_off(position_id, order)
        else:
            self._book(position_id, result, hint=hint)

    def _book(self, position_id: str, result: OrderResult, *, hint: bool) -> None:
        try:
            self._results.apply(result, {}, hint=hint)
        except MalformedMessage as error:
            text = f"{result.client_order_id}: {error}"
            self._alerts.raise_alert("ERROR", "RECONCILE", text, position_id=position_id)

    def _take_off(self, position_id: str, order: Order) -> None:
        """Take an order off the live ones. Its record keeps its last state, so that a later result still counts."""

        def taken_off(loaded: Loaded) -> Change | None:
            if loaded.position.order(order.client_order_id) is None:
                return None
            p = _without(loaded.position, order.client_order_id)
            cause = f"{order.kind} unknown to S4"
            return Change(p, loaded.op, self.clock.now_ms(), phase="RESULT", cause=cause)

        self._recorder.update(position_id, taken_off)


def _loss(p: Position) -> _Loss:
    return p.position_id, p.rebuilt_ts, p.unverified_from


def _with_found_stop(p: Position, op: Operation | None, sent: list[_Sent], now: int) -> Position:
    """If the position has no live stop, adopt the newest one found at S4. Its price is unknown but no looser than the
    last known stop, so ``sl_price`` is kept."""
    if p.live_stop is not None or p.sl_price is None or not p.is_open or (op is not None and op.kind == "STOP_MOVE"):
        return p
    found = (p.order(one.slot.client_order_id) for one in reversed(sent) if one.slot.life == p.life)
    stop = next((o for o in found if o is not None and o.kind == "SL" and o.status != "PENDING"), None)
    return p if stop is None else replace(p, sl_order=stop.client_order_id, sl_qty=stop.qty, sl_ts=now)


def _without(p: Position, client_order_id: str) -> Position:
    """Return the position without that order among the live ones."""
    p = replace(p, orders=tuple(o for o in p.orders if o.client_order_id != client_order_id))
    return replace(p, sl_order="", sl_qty=ZERO) if p.sl_order == client_order_id else p
