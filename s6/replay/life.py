"""A position's lives: the figures of each, and the lines and marks for charts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from typing import Final

from s6.model.position import Position
from s6.model.types import ZERO
from s6.replay.fold import Fill, Step
from s6.rules.exact import exactly

CLOSING: Final = ("EXIT", "SL", "GUARD")


@dataclass(frozen=True, slots=True)
class Span:
    """A value that held from ``start`` to ``end`` (ms)."""

    start: int
    end: int
    value: Decimal


@dataclass(frozen=True, slots=True)
class Life:
    """One life of a position, from its first fill to its exit or to now. ``steps`` is never empty."""

    number: int
    steps: tuple[Step, ...]

    @property
    def last(self) -> Position:
        return self.steps[-1].position

    @property
    def start(self) -> int:
        return self.steps[0].ts

    @property
    def end(self) -> int:
        return self.steps[-1].ts

    @property
    def fills(self) -> list[tuple[Step, Fill]]:
        return [(step, step.fill) for step in self.steps if step.fill is not None]

    @property
    def exit_reason(self) -> str:
        """Why the position closed: the decision, or the closing order's kind; empty while it is open."""
        if self.last.is_open:
            return ""
        closing = next((fill.kind for _, fill in self.fills if fill.closed), "")
        return self.last.exit_reason or closing

    @property
    def most_held(self) -> Decimal:
        return max(step.position.qty for step in self.steps)

    @property
    def fees(self) -> Decimal:
        with exactly():
            return sum((fill.fee for _, fill in self.fills), ZERO)

    def count(self, *kinds: str) -> int:
        """Return the number of orders of these kinds that filled at least in part."""
        return len({fill.client_order_id for _, fill in self.fills if fill.kind in kinds})

    @property
    def stop_moves(self) -> list[tuple[Step, Decimal | None]]:
        """Return the steps that changed the stop, each with the price before it."""
        moves = []
        former: Decimal | None = None
        for step in self.steps:
            price = step.position.sl_price
            if price is not None and price != former:
                moves.append((step, former))
            former = price
        return moves

    @property
    def stop(self) -> list[Span]:
        """The stop's price over time, also while its order was being replaced."""
        return _spans(self, lambda p: p.sl_price if p.is_open else None)

    @property
    def unprotected(self) -> list[tuple[int, int]]:
        """(from, to) in ms of the times when an open FUT position had no stop, the time before the first included."""
        spans = _spans(self, lambda p: p.qty if p.is_open and p.market == "FUT" and not guarded(p) else None)
        return [(span.start, span.end) for span in spans]

    @property
    def entry(self) -> list[Span]:
        """The average entry price over time, while the quantity was above 0."""
        return _spans(self, lambda p: p.entry_price_avg if p.is_open and p.qty else None)

    @property
    def held(self) -> list[Span]:
        """The quantity over time."""
        return _spans(self, lambda p: p.qty)

    @property
    def realized(self) -> list[Span]:
        return _spans(self, lambda p: p.realized_pnl_usdt)


def lives(steps: Iterable[Step]) -> list[Life]:
    """Group the steps by life."""
    return [Life(number, tuple(group)) for number, group in groupby(steps, key=lambda step: step.position.life)]


def guarded(p: Position) -> bool:
    """Return whether a stop at S4 or S6's own guard protects the position."""
    return bool(p.sl_order) or (p.sl_price is not None and (p.market == "SPOT" or p.self_guarded))


def unprotected_ms(life: Life) -> int:
    """Return the total time (ms) for which an open FUT position had no stop."""
    return sum(end - start for start, end in life.unprotected)


def _spans(life: Life, value: Callable[[Position], Decimal | None]) -> list[Span]:
    """Return runs of equal values, each up to the beginning of the next. None is a pause."""
    spans: list[Span] = []
    now: Decimal | None = None
    start = life.start
    for step in life.steps:
        new = value(step.position)
        if new != now:
            if now is not None:
                spans.append(Span(start, step.ts, now))
            now, start = new, step.ts
    if now is not None:
        spans.append(Span(start, life.end, now))
    return spans
