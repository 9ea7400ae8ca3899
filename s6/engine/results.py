"""Applies one order result to one position: exactly once however often it comes, without the position's lock.

The books change by compare-and-set, so results never wait for an operation that is talking to S4, and an operation
that reads the position afterwards sees them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol

from s6 import keys
from s6.booking import SymbolTerms, book
from s6.booking.booking import Warned
from s6.engine.order_identity import named, recognised, told_before
from s6.engine.recorder import Change, Recorder
from s6.engine.transitions import after_result
from s6.model.bundle import ActiveBundle, Retry
from s6.model.commit import Loaded
from s6.model.market import MarketView
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import OPENING_KINDS, UNHEARD, ZERO
from s6.model.waiting import is_over
from s6.model.wire import MalformedMessage, OrderResult
from s6.plan.terms import in_force, terms_of
from s6.ports import (
    Alerts,
    BundleSource,
    Clock,
    Hints,
    Losses,
    Markets,
    NeighbourUnavailable,
    Orders,
    Parking,
    Positions,
)
from s6.store import StoreError

log = logging.getLogger(__name__)
PARK_MS: Final = 60_000
LONGEST_WAIT_MS: Final = 3_600_000
TRIES: Final = 64
ASKED_FOR_MS: Final = 10_000
Applied = Literal["APPLIED", "NOTHING_NEW", "PARKED", "IGNORED"]


class Books(NamedTuple):
    """Looks up a position's orders that are not among its live ones: one by its id, or all that are remembered."""

    seen: Callable[[str], Order | None]
    every: Callable[[], Iterable[Order]]


class Wake(NamedTuple):
    """What a booked result asks for: the position's evaluation (PROTECT: before all others), or an operation's step."""

    what: Literal["NOTHING", "EVALUATE", "PROTECT", "RESUME"] = "NOTHING"
    op: Operation | None = None


class Booked(NamedTuple):
    """A result that is read: what is to be written (None: it says nothing new), and what it then asks for."""

    result: OrderResult
    change: Change | None
    wake: Wake
    closed: bool = False


class Contended(Exception):
    """The position changed during every attempt. The message's redelivery tries again."""


class ResultsState(Positions, Markets, Parking, Losses, Protocol):
    """What applying results needs of the state."""


class Results:
    """Applies order results to positions.

    ``recover`` puts back a position that Redis has lost, if it can; it may raise ``StoreError``. ``orders`` answers
    whether an add still at work filled before its position closed; without it, nobody is asked.
    """

    def __init__(
        self,
        state: ResultsState,
        bundles: BundleSource,
        recorder: Recorder,
        hints: Hints,
        clock: Clock,
        alerts: Alerts,
        recover: Callable[[str], bool] | None = None,
        orders: Orders | None = None,
    ) -> None:
        self._state = state
        self._bundles = bundles
        self._recorder = recorder
        self._hints = hints
        self._clock = clock
        self._alerts = alerts
        self._recover = recover
        self._orders = orders

    def apply(self, result: OrderResult, raw: Mapping[str, str], *, hint: bool = True) -> Applied:
        """Book a result, wake what waits for it, and have the position evaluated (unless ``hint`` is False).

        ``raw`` is kept for up to 60 s when the position is not known yet.

        Returns what was done. Raises ``MalformedMessage`` when the result contradicts its position, ``Contended``,
        ``StateUnavailable`` when Redis cannot be asked, ``NeighbourUnavailable`` when only S4 knows what a close has
        closed and does not answer.
        """
        due = [result]  # the last one first: what was filled before a close is booked before it
        for _ in range(TRIES):
            try:
                done = self._once(due[-1])
            except LookupError:
                return self._park(result, raw)
            if isinstance(done, OrderResult):
                due.append(done)
            elif done is not None:
                booked = due.pop()
                if booked.kind == "ENTRY":  # even one that says nothing new: its first reader may have died over this
                    self.unpark(booked.position_id)
                if not due:
                    if hint:  # only now: a stop is sized by all that is known
                        self.wake({result.position_id: done.wake})
                    return "APPLIED" if done.change is not None else "NOTHING_NEW"
        raise Contended(result.position_id)

    def _once(self, result: OrderResult) -> Booked | OrderResult | None:
        """Try once. Returns None when somebody else wrote first, or an older result that must be booked before."""
        loaded = self._state.load(result.position_id)
        if loaded is None and self._recovered(result.position_id):
            return None
        bundle, view = self._bundles.current(), self._state.market(result.symbol)
        name = result.position_id
        books = Books(partial(self._state.seen_order, name), partial(self._state.own_orders, name))
        booked = self.booked(loaded, result, bundle, view, books)
        if booked.closed and loaded is not None:
            earlier = self._overtaken(loaded.position, result, self._clock.now_ms())
            if earlier is not None:
                return earlier
        if booked.change is not None and self._recorder.write(booked.change) is None:
            return None
        return booked

    def booked(
        self,
        loaded: Loaded | None,
        result: OrderResult,
        bundle: ActiveBundle | None,
        view: MarketView,
        books: Books,
    ) -> Booked:
        """Return what a result comes to. Writes nothing.

        Raises ``MalformedMessage``, and ``LookupError`` when the position must exist first.
        """
        now = self._clock.now_ms()
        position, op = loaded if loaded else (None, None)
        result, known = _known(position, result, books)
        if known is None and position is not None:
            position, op, known = recognised(position, op, result, view.features.signal_id)
        mark = view.tick.mark if view.tick else None
        terms = _terms(bundle, position, result.symbol)
        booking = book(position, known, result, mark=mark, terms=terms, now=now)
        if booking is None:
            again = result.status != "NEW"  # a repetition: the first reader may have died before it hinted
            return Booked(result, None, Wake("EVALUATE" if again else "NOTHING"))
        retry = bundle.execution.retry if bundle else Retry()
        unanswered = known is not None and known.status in UNHEARD
        step = after_result(booking.position, op, booking.order, result, retry, now, unanswered=unanswered)
        warnings = booking.warnings
        after = step.position
        if booking.opened and bundle is not None:
            warnings += _born(bundle, after)
            version = bundle.version if after.symbol in bundle.symbols else ""
            after = in_force(replace(after, bundle_version=version), bundle)
        change = Change(
            after,
            step.op,
            now,
            phase="RESULT",
            cause=f"{result.kind} {result.status}",
            about=booking.order,
            orders=(booking.order, *step.orders),
            events=(*step.events, *booking.events),  # a stop is accepted before it fills
            quotas=booking.quotas,
            alerts=(*warnings, *step.alerts),
            samples=step.samples,
            since=result.ts,
            outcome="PARTIAL" if _ended_in_part(known, booking.order) else "",
        )
        idle = result.status == "NEW" and op is None and not booking.increment
        wake = Wake() if idle else _wake(after, op, step.op)
        return Booked(result, change, wake, closed=booking.closed and position is not None)

    def wake(self, wanted: Mapping[str, Wake]) -> None:
        """Hint at what booked results ask for, by position; what protects first."""
        urgent = [name for name, wake in wanted.items() if wake.what == "PROTECT"]
        others = [name for name, wake in wanted.items() if wake.what == "EVALUATE"]
        if urgent:
            self._hints.evaluate_many(urgent, urgent=True)
        if others:
            self._hints.evaluate_many(others)
        for name, wake in wanted.items():
            if wake.op is not None:
                self._hints.resume(name, wake.op)

    def _overtaken(self, position: Position, close: OrderResult, now: int) -> OrderResult | None:
        """Ask S4 whether an opening order filled before this close, its result being late.

        Returns that fill: booked first, it keeps the position open. Raises ``NeighbourUnavailable`` while the close is
        fresh; an S4 that stays silent is not waited for any longer.
        """
        if self._orders is None:
            return None
        for order in position.orders:
            if order.kind not in OPENING_KINDS or not order.live or order.life != position.life:
                continue
            try:
                found = self._orders.query(order.client_order_id)
            except NeighbourUnavailable:
                if not is_over(close.ts, ASKED_FOR_MS, now):
                    raise
                continue
            if found is not None and found.filled_qty > order.filled and found.ts <= close.ts:
                return found
        return None

    def _recovered(self, position_id: str) -> bool:
        """Return whether the store gave the position back. A store that is away must not delay a new one's stop."""
        try:
            return self._recover is not None and self._recover(position_id)
        except StoreError as error:
            log.warning("%s is taken as Redis has it: %s", position_id, error)
            return False

    def _park(self, result: OrderResult, raw: Mapping[str, str]) -> Applied:
        if result.kind == "ENTRY":
            return "IGNORED"  # an ENTRY without a fill opens nothing and needs nothing
        self._state.park(result.position_id, raw, self._clock.now_ms() + PARK_MS)
        if self._state.load(result.position_id) is not None:
            self.unpark(result.position_id)  # its ENTRY came while we parked
        return "PARKED"

    def unpark(self, position_id: str) -> None:
        """Apply the results that waited for this position."""
        for fields in self._state.parked(position_id):
            try:
                self.apply(OrderResult.read(fields), fields)
            except MalformedMessage as error:
                self._alerts.dead_letter(_stream(fields), "", str(error), fields)
            self._state.unpark(position_id, fields)

    def give_up_overdue(self) -> int:
        """Move results whose position never came to the dead letters, but not those that a rebuild may still explain.

        Returns how many.
        """
        given_up = 0
        now = self._clock.now_ms()
        too_long = self._state.parked_overdue(now - LONGEST_WAIT_MS)
        for position_id, fields in self._state.parked_overdue(now, PARK_MS):
            if self._state.load(position_id) is not None:
                self.unpark(position_id)
                continue
            may_come = self._recover is not None and self._state.may_be_lost(position_id)
            if may_come and (position_id, fields) not in too_long:
                continue
            text = f"position_id: {position_id} is not known after 60 s"
            self._alerts.dead_letter(_stream(fields), "", text, fields)
            self._state.unpark(position_id, fields)
            given_up += 1
        return given_up


def _known(position: Position | None, result: OrderResult, books: Books) -> tuple[OrderResult, Order | None]:
    """Return the result under the name by which the books know its order, and the order as last booked."""
    if position is None:
        return named(result, None), None
    name = result.client_order_id
    known = (position.order(name) or books.seen(name)) if name else None
    result = named(result, known)
    if known is None or known.client_order_id != result.client_order_id:
        known = position.order(result.client_order_id) or books.seen(result.client_order_id)
    if known is None and result.order_id:
        known = told_before(position, books.every(), result)
    if known is not None and known.client_order_id != result.client_order_id:
        result = result.model_copy(update={"client_order_id": known.client_order_id})
    return result, known


def _wake(position: Position, before: Operation | None, op: Operation | None) -> Wake:
    """Return what a booked result asks for."""
    if op is None:
        return Wake("PROTECT" if position.is_open and position.live_stop is None else "EVALUATE")
    moved = before is None or before.stage != op.stage or before.client_order_id != op.client_order_id
    return Wake("RESUME", op) if moved else Wake()


def _born(bundle: ActiveBundle, position: Position) -> tuple[Warned, ...]:
    if position.symbol in bundle.symbols:
        return ()
    return (("ERROR", "SYMBOL_UNKNOWN", f"{position.symbol} is not in bundle {bundle.version}: not governed"),)


def _ended_in_part(known: Order | None, order: Order) -> bool:
    """Whether this result ended an order of ours, other than a stop, of which only a part was filled."""
    if not order.ours or order.kind == "SL" or order.live or (known is not None and not known.live):
        return False
    return ZERO < order.filled < order.qty


def _terms(bundle: ActiveBundle | None, position: Position | None, symbol: str) -> SymbolTerms:
    spec = bundle.symbols.get(symbol) if bundle else None
    if spec is None and bundle is not None and position is not None:
        last = terms_of(position, bundle)
        spec = last.spec if last else None
    return SymbolTerms(spec.step, spec.mmr) if spec else SymbolTerms()


def _stream(fields: Mapping[str, str]) -> str:
    """Return the stream that a result came from."""
    return f"{keys.RESULTS}{fields.get('symbol', '')}"
