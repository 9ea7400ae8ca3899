"""The exchange's books: all orders and positions, and which are live. The vault keeps every change."""

from collections import defaultdict
from decimal import Decimal

from pydantic import TypeAdapter

from s6.paper.domain import OPENING, ZERO, Order, Position
from s6.paper.vault import Vault

_ORDER = TypeAdapter(Order)
_POSITION = TypeAdapter(Position)


class Books:
    """Orders by `client_order_id` and positions by `position_id`. Not thread-safe: the exchange's lock guards it."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.orders: dict[str, Order] = {}
        self.positions: dict[str, Position] = {}
        self._live: dict[str, dict[str, Order]] = defaultdict(dict)
        self._held: dict[str, dict[str, Position]] = defaultdict(dict)
        for text in vault.all("order"):
            order = _ORDER.validate_json(text)
            order.working = order.cancel_pending = False
            self._index_order(order)
        for text in vault.all("position"):
            self._index_position(_POSITION.validate_json(text))

    def note_order(self, order: Order) -> None:
        """Record an order's new state."""
        self._index_order(order)
        self._vault.keep("order", order.client_order_id, _ORDER.dump_json(order).decode())

    def note_position(self, position: Position) -> None:
        """Record a position's new state."""
        self._index_position(position)
        self._vault.keep("position", position.position_id, _POSITION.dump_json(position).decode())

    def live(self, *, symbol: str | None = None, position_id: str | None = None) -> list[Order]:
        """Return orders that rest or are being filled, oldest first."""
        chosen = [self._live[symbol]] if symbol else self._live.values()
        return [o for orders in chosen for o in orders.values() if position_id in (None, o.position_id)]

    def held(self, symbol: str) -> list[Position]:
        """Return the symbol's open positions."""
        return list(self._held[symbol].values())

    def selling(self, position_id: str) -> Decimal:
        """Return the quantity that the position's working closing orders may still take."""
        at_work = (o for o in self.live(position_id=position_id) if o.working and o.kind not in OPENING)
        return sum((order.remaining for order in at_work), ZERO)

    def _index_order(self, order: Order) -> None:
        self.orders[order.client_order_id] = order
        if order.live:
            self._live[order.symbol][order.client_order_id] = order
        else:
            self._live[order.symbol].pop(order.client_order_id, None)

    def _index_position(self, position: Position) -> None:
        self.positions[position.position_id] = position
        if position.qty:
            self._held[position.symbol][position.position_id] = position
        else:
            self._held[position.symbol].pop(position.position_id, None)
