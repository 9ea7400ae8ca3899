"""The entry side: opens positions directly at the exchange, without S6, and reserves their `risk:*` quotas."""

import itertools
from dataclasses import dataclass
from decimal import Decimal

from s6.paper.domain import Market, Side
from s6.paper.exchange import Exchange
from s6.paper.requests import Answer, OrderRequest


@dataclass(frozen=True, slots=True)
class EntryOrder:
    """A market order to enter. With `force` the exchange does not check it against the symbol's grid."""

    position_id: str
    symbol: str
    side: Side
    qty: Decimal
    leverage: Decimal = Decimal(1)
    market: Market = "FUT"
    force: bool = False


class Entries:
    """Sends entries with unique ids. A later entry for the same position adds to it."""

    def __init__(self, exchange: Exchange, run: str) -> None:
        self._exchange, self._run = exchange, run
        self._numbers = itertools.count(1)

    def enter(self, entry: EntryOrder) -> Answer:
        """Send the order. Returns the exchange's answer."""
        number = next(self._numbers)
        request = OrderRequest(
            intent_id=f"entry-{self._run}-{number}",
            client_order_id=f"EN-{self._run}-{number}",
            position_id=entry.position_id,
            symbol=entry.symbol,
            market=entry.market,
            kind="ENTRY",
            side="BUY" if entry.side == "LONG" else "SELL",
            type="MARKET",
            qty=entry.qty,
            reduce_only=False,
        )
        return self._exchange.submit(request, leverage=entry.leverage, force=entry.force)
