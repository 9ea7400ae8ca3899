"""Books a fill: in the position, the wallets, the entry side's quotas and the ledger."""

from collections.abc import Callable
from decimal import Decimal

from s6.paper.domain import OPENING, ZERO, Order, Position
from s6.paper.ledger import Ledger
from s6.paper.wallet import Wallet

Quota = Callable[[str, str, Decimal, bool], None]
_IDS = ("client_order_id", "intent_id", "position_id", "symbol", "market", "kind", "side")


class Settlement:
    """Books fills one by one. The exchange calls it under its lock."""

    def __init__(self, *, ledger: Ledger, wallet: Wallet, quota: Quota, fee_rate: Decimal) -> None:
        self._ledger, self._wallet, self._quota, self._fee_rate = ledger, wallet, quota, fee_rate

    def book(self, order: Order, position: Position, qty: Decimal, price: Decimal) -> None:
        """Fill `qty` of the order at `price`. An opening fill of a flat position begins its next life."""
        fee = qty * price * self._fee_rate
        order.filled_qty += qty
        order.cost += qty * price
        order.fee += fee
        if order.kind in OPENING:
            taken = self._open(order, position, qty, price)
            self._wallet.book(position.market, -taken - fee)
        else:
            taken = ZERO
            released, realized = position.decrease(qty, price)
            self._wallet.book(position.market, released + realized - fee)
        figures = {"qty": qty, "price": price, "fee": fee, "margin": taken, "life": position.life}
        self._ledger.add("fill", {name: getattr(order, name) for name in _IDS} | figures)
        self._ledger.add("position", position.members())

    def _open(self, order: Order, position: Position, qty: Decimal, price: Decimal) -> Decimal:
        born = position.qty == 0
        if born:
            position.life += 1
            position.side = "LONG" if order.side == "BUY" else "SHORT"
            position.leverage = order.leverage or Decimal(1)
        taken = position.increase(qty, price)
        order.figures = position.figures()
        if order.kind == "ENTRY":
            self._quota(position.market, f"{order.client_order_id}:{order.filled_qty}", taken, born)
        return taken
