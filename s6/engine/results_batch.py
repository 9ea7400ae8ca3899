"""Books many order results in few trips: those of different positions side by side, those of one in their order.

A batch reads what all its results need at once, books the first result of each position in memory and writes these in
one trip, then the second of each, and so on. Where that does not suffice (somebody else wrote first, a position is not
known, S4 must be asked), that position alone goes on one result after the other.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from s6.engine.recorder import Drawn, Recorder
from s6.engine.results import Applied, Booked, Books, Contended, Results, ResultsState, Wake
from s6.model.commit import Loaded
from s6.model.position import Order
from s6.model.types import OPENING_KINDS
from s6.model.wire import MalformedMessage, OrderResult
from s6.ports import BundleSource, NeighbourUnavailable, PartUnavailable, StateUnavailable

log = logging.getLogger(__name__)
PASSING: Final = (Contended, NeighbourUnavailable, PartUnavailable)
"""Errors that concern one position and pass."""


class Told(NamedTuple):
    """A result, and the fields that it came in."""

    result: OrderResult
    raw: Mapping[str, str]


class ResultsBatch:
    """Applies results as ``Results.apply`` does.

    ``recovers`` says whether a position that Redis has lost can be brought back.
    """

    def __init__(
        self, results: Results, state: ResultsState, bundles: BundleSource, recorder: Recorder, *, recovers: bool = True
    ) -> None:
        self.results, self.state, self.bundles, self.recorder = results, state, bundles, recorder
        self.recovers = recovers

    def apply(self, told: Sequence[Told]) -> list[Applied | Exception]:
        """Book all, then wake what waits for them.

        Returns of each what ``Results.apply`` returns or raises. After a result that could not be applied and may be
        later, those behind it of the same position are not tried, which is ``Contended``. Raises ``StateUnavailable``
        when Redis is away as a whole.
        """
        return _Run(self, told).run()


class _Alone(Exception):
    """This result cannot be booked by what the batch has read."""


class _Run:
    """One batch on its way: ``waiting`` are the numbers of the results that are not booked yet, by position."""

    def __init__(self, parts: ResultsBatch, told: Sequence[Told]) -> None:
        self._parts, self._told = parts, told
        self._outcomes: list[Applied | Exception] = [Contended("its turn comes later")] * len(told)
        self._waiting: dict[str, deque[int]] = {}
        for number, (result, _) in enumerate(told):
            self._waiting.setdefault(result.position_id, deque()).append(number)
        self._wakes: dict[str, Wake] = {}
        self._alone: set[str] = set()
        self._parked: set[str] = set()
        self._seen: dict[tuple[str, str], Order | None] = {}

    def run(self) -> list[Applied | Exception]:
        self._read()
        while self._waiting:
            self._next_of_each()
        self._parts.results.wake(self._wakes)
        return self._outcomes

    def _read(self) -> None:
        """Read what all results need. What a cluster's node withholds is left to each by itself."""
        state, results = self._parts.state, [result for result, _ in self._told]
        self._loaded = state.load_reachable(list(self._waiting))
        self._bundle = self._parts.bundles.current()
        self._views = state.markets({result.symbol for result in results})
        self._alone |= self._waiting.keys() - self._loaded.keys()
        self._alone |= {result.position_id for result in results if result.symbol not in self._views}
        entries = [result.position_id for result in results if result.kind == "ENTRY"]
        new = [name for name, loaded in self._loaded.items() if loaded is None]
        try:
            if new and self._parts.recovers:
                self._alone |= state.may_be_lost_many(new)
            self._parked = state.parked_owners() if any(self._loaded.get(name) for name in entries) else set()
        except PartUnavailable as error:
            log.warning("positions are booked one by one: %s", error)
            self._alone.update(new, entries)
        self._seen = state.seen_orders([*self._unknown(results)])

    def _unknown(self, results: Sequence[OrderResult]) -> Iterator[tuple[str, str]]:
        """Yield the orders that are not among their positions' live ones."""
        for result in results:
            loaded = self._loaded.get(result.position_id)
            name = result.client_order_id
            if loaded is not None and name and loaded.position.order(name) is None:
                yield result.position_id, name

    def _next_of_each(self) -> None:
        """Book the next result of each position."""
        for name in self._alone & self._waiting.keys():
            self._one_by_one(name)
        drawn: dict[str, tuple[Booked, Drawn]] = {}
        for name in list(self._waiting):
            try:
                each = self._booked(name)
                if each.change is not None:
                    drawn[name] = each, each.change.drawn()
                else:
                    self._stands(name, each, "NOTHING_NEW")
            except MalformedMessage as error:
                self._done(name, error)
            except Exception:  # whatever it is, it shows again when the result is applied by itself
                self._alone.add(name)
        written = self._parts.recorder.write_many([change for _, change in drawn.values()])
        self._parked |= self._waited_for(
            {name for name, position in zip(drawn, written, strict=True) if position and self._loaded[name] is None}
        )
        for (name, (each, change)), position in zip(drawn.items(), written, strict=True):
            if position is None:  # somebody else wrote first
                self._alone.add(name)
                continue
            self._loaded[name] = Loaded(position, change.commit.op)
            self._seen |= {(name, order.client_order_id): order for order in change.commit.orders}
            self._stands(name, each, "APPLIED")

    def _waited_for(self, born: set[str]) -> set[str]:
        """Return those of the newly born positions for which results may wait.

        Only now: who parks a result looks for its position afterwards, so it sees the birth, or is seen here.
        """
        try:
            return born & self._parts.state.parked_owners() if born else born
        except PartUnavailable:  # asked once more as each is unparked
            return born

    def _booked(self, name: str) -> Booked:
        result, loaded = self._told[self._waiting[name][0]].result, self._loaded[name]

        def seen(order: str) -> Order | None:
            if (name, order) not in self._seen:
                raise _Alone
            return self._seen[name, order]

        def every() -> list[Order]:
            raise _Alone

        view = self._views[result.symbol]
        each = self._parts.results.booked(loaded, result, self._bundle, view, Books(seen, every))
        orders = loaded.position.orders if loaded is not None else ()
        if each.closed and any(o.kind in OPENING_KINDS and o.live for o in orders):  # S4 is asked first
            raise _Alone
        return each

    def _stands(self, name: str, each: Booked, applied: Applied) -> None:
        """Note that a result is booked. An entry's position may be what others have waited for."""
        outcome: Applied | Exception = applied
        if each.wake.what != "NOTHING" or name not in self._wakes:
            self._wakes[name] = each.wake
        if each.result.kind == "ENTRY" and name in self._parked:
            self._alone.add(name)
            try:
                self._parts.results.unpark(name)
            except PASSING as error:
                outcome = error
        self._done(name, outcome)

    def _done(self, name: str, outcome: Applied | Exception) -> None:
        self._outcomes[self._waiting[name].popleft()] = outcome
        stops = isinstance(outcome, Exception) and not isinstance(outcome, MalformedMessage)
        if stops or not self._waiting[name]:
            del self._waiting[name]

    def _one_by_one(self, name: str) -> None:
        while name in self._waiting:
            result, raw = self._told[self._waiting[name][0]]
            try:
                self._done(name, self._parts.results.apply(result, raw))
            except (MalformedMessage, *PASSING) as error:
                self._done(name, error)
            except (RedisError, StateUnavailable):
                raise
            except Exception as error:
                log.exception("%s could not be applied", result.client_order_id)
                self._done(name, error)
