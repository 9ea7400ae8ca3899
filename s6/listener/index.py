"""Keeps each symbol's prices at which anything would change, sorted: a tick finds what it crossed without a scan."""

from __future__ import annotations

import threading
from collections import deque
from decimal import Decimal
from typing import Final, NamedTuple

from sortedcontainers import SortedList

from s6.model.bundle import ActiveBundle
from s6.model.market import Features
from s6.model.position import Position
from s6.plan.triggers import triggers
from s6.rules import round_down

REMEMBERED: Final = 100


class Move(NamedTuple):
    """A step from one mark to the next, read at ``at`` (ms)."""

    before: Decimal
    mark: Decimal
    at: int

    def crosses(self, price: Decimal) -> bool:
        """Return whether the price lies between both marks. The mark where the move begins does not count."""
        return min(self.before, self.mark) <= price <= max(self.before, self.mark) and price != self.before


class TriggerIndex:
    """Thread-safe: one thread puts positions in, another asks with ticks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prices: dict[str, SortedList[tuple[Decimal, str]]] = {}
        self._of: dict[str, tuple[str, frozenset[Decimal]]] = {}
        self._moves: dict[str, deque[Move]] = {}
        self._unprotected: set[str] = set()

    def put(self, position: Position, bundle: ActiveBundle, features: Features) -> list[Move]:
        """Replace what is known of this position; a closed one leaves.

        Returns the moves that crossed one of its new prices after the price came into force, but before it was indexed.
        """
        wanted = frozenset(triggers(position, bundle, features))
        name = position.position_id
        with self._lock:
            (self._unprotected.add if _is_unprotected(position, bundle) else self._unprotected.discard)(name)
            symbol, had = self._of.pop(name, (position.symbol, frozenset()))
            prices = self._prices.setdefault(symbol, SortedList())
            for price in had:
                prices.discard((price, name))
            if wanted:
                prices = self._prices.setdefault(position.symbol, SortedList())
                prices.update((price, name) for price in wanted)
                self._of[name] = (position.symbol, wanted)
            moves = list(self._moves.get(position.symbol, ()))
        new = [(price, position.sl_ts if price == position.sl_price else position.ts) for price in wanted - had]
        return [move for move in moves if any(move.at >= since and move.crosses(price) for price, since in new)]

    def keep_only(self, names: set[str]) -> None:
        """Drop every position that is not among ``names``."""
        with self._lock:
            self._unprotected &= names
            for name in [n for n in self._of if n not in names]:
                symbol, had = self._of.pop(name)
                for price in had:
                    self._prices[symbol].discard((price, name))

    def unprotected(self) -> set[str]:
        """Return the ids of open positions whose stop is missing or of another quantity than is held."""
        with self._lock:
            return set(self._unprotected)

    def crossed(self, symbol: str, before: Decimal | None, mark: Decimal, at: int = 0) -> set[str]:
        """Find the positions with a trigger between the last mark and this one, this one included.

        ``at`` is when the mark was read (ms): the move is remembered for positions that ``put`` indexes late. Returns
        their ids, none without a last mark.
        """
        if before is None or before == mark:
            return set()
        move = Move(before, mark, at)
        low, high = min(before, mark), max(before, mark)
        with self._lock:
            self._moves.setdefault(symbol, deque(maxlen=REMEMBERED)).append(move)
            prices = self._prices.get(symbol)
            if not prices:
                return set()
            return {name for price, name in prices.irange((low, ""), (high, "\U0010ffff")) if move.crosses(price)}


def _is_unprotected(p: Position, bundle: ActiveBundle) -> bool:
    """Return whether the position lacks its stop. What S6 guards itself needs none at S4."""
    spec = bundle.symbols.get(p.symbol)
    if not p.is_open or spec is None:
        return False
    if p.market == "SPOT" or p.self_guarded:
        return p.sl_price is None
    return p.live_stop is None or p.live_stop.remaining != round_down(p.qty, spec.step)
