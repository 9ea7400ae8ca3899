"""The entry side on paper: keeps a number of positions open, LONG and SHORT, mostly FUT and some SPOT.

It enters directly at the exchange and never closes, which is the position manager's task. It enters only while the
position manager governs: it begins with the first request for the bundle and pauses after a time without one.
"""

import itertools
import logging
import random
import threading
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

from s6.paper.bundle import BundleShelf
from s6.paper.domain import Side, SymbolSpec
from s6.paper.entries import Entries, EntryOrder
from s6.paper.exchange import Exchange
from s6.paper.wallet import Wallet

log = logging.getLogger(__name__)

_PACE_S = 0.8
_SETTLE_S = 3.0
_IDLE_S = 120.0
_LEVERAGES = (Decimal(50), Decimal(50), Decimal(100))
_FUT_NOTIONAL = (3_000, 6_000)
_SPOT_NOTIONAL = (500, 1_500)
_REFILL_BELOW, _REFILL = Decimal(5_000), Decimal(20_000)


class Strategy:
    """A thread that opens one position at a time until `count` are open."""

    def __init__(
        self,
        *,
        count: int,
        seed: int,
        run: str,
        specs: Mapping[str, SymbolSpec],
        exchange: Exchange,
        entries: Entries,
        wallet: Wallet,
        shelf: BundleShelf,
    ) -> None:
        self._count, self._run, self._specs = count, run, specs
        self._exchange, self._entries, self._wallet, self._shelf = exchange, entries, wallet, shelf
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._symbols = itertools.cycle(specs)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="paper-strategy", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop entering."""
        self._ended.set()
        self._thread.join(timeout=2)

    def step(self) -> EntryOrder | None:
        """Open one position if fewer than `count` are open. Returns the entry, or None."""
        opened = self._exchange.positions(open_only=True)
        if len(opened) >= self._count:
            return None
        self._wallet.refill(_REFILL_BELOW, _REFILL)
        spot = sum(position["market"] == "SPOT" for position in opened)
        sides = Counter(position["side"] for position in opened if position["market"] == "FUT")
        symbol = next(self._symbols)
        if self._count > 2 and not spot:
            order = self._sized(symbol, "LONG", "SPOT")
        else:
            order = self._sized(symbol, "LONG" if sides["LONG"] <= sides["SHORT"] else "SHORT", "FUT")
        if order is None:
            return None
        answer = self._entries.enter(order)
        if answer.status != 200:
            log.warning("entry refused: %s", answer.body)
            return None
        return order

    def _sized(self, symbol: str, side: Side, market: str) -> EntryOrder | None:
        quote, spec = self._exchange.quote(symbol), self._specs[symbol]
        if quote is None:
            return None
        notional = self._random.randint(*(_SPOT_NOTIONAL if market == "SPOT" else _FUT_NOTIONAL))
        qty = spec.floor(Decimal(notional) / quote.mark)
        name = f"{symbol[:3].lower()}-{self._run}-{next(self._numbers)}"
        if market == "SPOT":
            return EntryOrder(f"{name}-spot", symbol, "LONG", qty, market="SPOT")
        return EntryOrder(name, symbol, side, qty, self._random.choice(_LEVERAGES))

    def _work(self) -> None:
        governed = False
        while not self._ended.wait(_PACE_S):
            if self._shelf.idle_s() > _IDLE_S:
                governed = False
            elif not governed:
                governed = not self._ended.wait(_SETTLE_S)
            else:
                self.step()
