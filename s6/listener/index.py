"""Per symbol, the prices at which anything would change, sorted: a tick finds those it crossed without asking all."""

from __future__ import annotations

import threading
from decimal import Decimal

from sortedcontainers import SortedList

from s6.model.bundle import ActiveBundle
from s6.model.market import Features
from s6.model.position import Position
from s6.triggers import triggers


class TriggerIndex:
    """Thread-safe: one thread puts positions in, another asks with ticks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prices: dict[str, SortedList[tuple[Decimal, str]]] = {}
        self._of: dict[str, tuple[str, frozenset[Decimal]]] = {}

    def put(self, position: Position, bundle: ActiveBundle, features: Features) -> None:
        """Replace what is known of this position; a closed one leaves."""
        wanted = frozenset(triggers(position, bundle, features))
        name = position.position_id
        with self._lock:
            symbol, had = self._of.pop(name, (position.symbol, frozenset()))
            prices = self._prices.setdefault(symbol, SortedList())
            for price in had:
                prices.discard((price, name))
            if wanted:
                prices = self._prices.setdefault(position.symbol, SortedList())
                prices.update((price, name) for price in wanted)
                self._of[name] = (position.symbol, wanted)

    def keep_only(self, names: set[str]) -> None:
        """Drop whatever isn't open any more."""
        with self._lock:
            for name in [n for n in self._of if n not in names]:
                symbol, had = self._of.pop(name)
                for price in had:
                    self._prices[symbol].discard((price, name))

    def crossed(self, symbol: str, before: Decimal | None, mark: Decimal) -> set[str]:
        """Ids with a trigger between the last mark and this one (this one included). Without a last mark: none."""
        if before is None or before == mark:
            return set()
        low, high = min(before, mark), max(before, mark)
        with self._lock:
            prices = self._prices.get(symbol)
            if not prices:
                return set()
            return {
                name
                for price, name in prices.irange((low, ""), (high, "\U0010ffff"))
                if price != before or mark == price
            }
