"""A small exchange in memory with S4's face: market orders fill at the mark, stops rest until it reaches them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import TypeVar

from s6.model.answers import CancelAnswer, Placed, Refused
from s6.model.position import Order, Position
from s6.model.types import ZERO, Market, OrderKind, Side, closing_side, opening_side, plain
from s6.model.wire import OrderResult
from s6.ports import NeighbourUnavailable
from s6.rules.exact import exactly

T = TypeVar("T")
Fields = dict[str, str]
FEE = Decimal("0.0004")


@dataclass
class Held:
    """A position as the exchange has it; ``taken`` is what its opening fills took since it was flat."""

    position_id: str
    symbol: str
    market: Market
    side: Side
    leverage: Decimal
    qty: Decimal = ZERO
    cost: Decimal = ZERO
    margin: Decimal = ZERO
    taken: Decimal = ZERO


@dataclass
class Resting:
    """An order, and what of it has been told."""

    fields: Fields
    held: Held
    with_figures: bool
    live: bool = True
    told: list[Fields] = field(default_factory=list)


class SmallExchange:
    """``s6.ports.Orders``. ``publish`` gets each result's fields; ``opened`` (first, margin) what an ENTRY fill took.

    Every now and then a request is lost before or after it was carried out.
    """

    def __init__(
        self, rng: Random, publish: Callable[[Fields], None], opened: Callable[[Held, bool, Decimal], None]
    ) -> None:
        self._rng, self._publish, self._opened = rng, publish, opened
        self.marks: dict[str, Decimal] = {}
        self.positions: dict[str, Held] = {}
        self._orders: dict[str, Resting] = {}
        self.now = 0
        self._number = 0

    # -- S4's face ---------------------------------------------------------------------------------------------

    def place(self, position: Position, order: Order) -> Placed | Refused:
        return self._unreliably(lambda: self._place(position, order))

    def cancel(self, position: Position, client_order_id: str, intent: str) -> CancelAnswer:
        return self._unreliably(lambda: self._cancel(client_order_id))

    def query(self, client_order_id: str) -> OrderResult | None:
        known = self._orders.get(client_order_id)
        return OrderResult.read(known.told[-1]) if known else None

    def _unreliably(self, act: Callable[[], T]) -> T:
        chance = self._rng.random()
        if chance < 0.04:
            raise NeighbourUnavailable("s4", "lost on the way")
        answer = act()
        if chance < 0.08:
            raise NeighbourUnavailable("s4", "the answer was lost")
        return answer

    def _place(self, position: Position, order: Order) -> Placed | Refused:
        if order.client_order_id in self._orders:
            return Placed("NEW")
        held = self.positions[position.position_id]
        resting = self._order(held, order.kind, order.qty, order.client_order_id, order.type, order.stop_px)
        self._tell(resting, "NEW")
        if order.type == "MARKET":
            self._fill(resting)
        return Placed("NEW")

    def _cancel(self, client_order_id: str) -> CancelAnswer:
        resting = self._orders.get(client_order_id)
        if resting is None:
            return CancelAnswer("UNKNOWN")
        if not resting.live:
            return CancelAnswer(resting.told[-1]["status"])
        self._tell(resting, "CANCELED")
        return CancelAnswer("PENDING")

    # -- what happens at the exchange --------------------------------------------------------------------------

    def enter(self, held: Held, qty: Decimal) -> None:
        """A first entry, another one, or the next life."""
        if not held.qty:
            self.positions[held.position_id] = held
        self._fill(self._order(held, "ENTRY", qty))

    def close_by_hand(self, held: Held, qty: Decimal, kind: OrderKind = "EXIT") -> None:
        """Behind S6's back."""
        self._fill(self._order(held, kind, qty))

    def move(self, symbol: str, mark: Decimal) -> None:
        """The mark moves; stops that it reaches fill."""
        self.marks[symbol] = mark
        for resting in list(self._orders.values()):
            held = resting.held
            if resting.live and held.symbol == symbol and "stop" in resting.fields:
                beyond = Decimal(resting.fields["stop"]) - mark
                if (beyond >= 0) == (held.side == "LONG") or not beyond:
                    self._fill(resting)

    def _order(
        self,
        held: Held,
        kind: OrderKind,
        qty: Decimal,
        name: str = "",
        type_: str = "MARKET",
        stop: Decimal | None = None,
    ) -> Resting:
        self._number += 1
        opens = kind in ("ENTRY", "ADD")
        fields = {
            "symbol": held.symbol,
            "market": held.market,
            "position_id": held.position_id,
            "client_order_id": name or f"x-{self._number}",
            "kind": kind,
            "side": opening_side(held.side) if opens else closing_side(held.side),
            "type": type_,
            "qty": plain(qty),
        }
        if stop is not None:
            fields["stop"] = plain(stop)
        resting = Resting(fields, held, self._rng.random() < 0.5)
        return self._orders.setdefault(fields["client_order_id"], resting)

    def _fill(self, resting: Resting) -> None:
        """In one to three parts at the mark; a closing order takes no more than there is."""
        held, qty = resting.held, Decimal(resting.fields["qty"])
        opens = resting.fields["kind"] in ("ENTRY", "ADD")
        due = qty if opens else min(qty, held.qty)
        if not due:
            self._tell(resting, "EXPIRED")
            return
        parts = self._parts(due)
        filled = ZERO
        for number, part in enumerate(parts, start=1):
            filled += part
            self._book(resting, part, opens)
            self._tell(resting, "FILLED" if number == len(parts) else "PARTIALLY_FILLED", filled)

    def _parts(self, qty: Decimal) -> list[Decimal]:
        steps = int(qty / Decimal("0.001"))
        cuts = sorted(self._rng.sample(range(1, steps), min(self._rng.randrange(3), steps - 1))) if steps > 1 else []
        return [Decimal(b - a) / 1000 for a, b in zip([0, *cuts], [*cuts, steps], strict=True)]

    def _book(self, resting: Resting, part: Decimal, opens: bool) -> None:
        held, price = resting.held, self.marks[resting.held.symbol]
        first = not held.qty
        with exactly():
            if opens:
                took = part * price / held.leverage
                held.qty, held.cost = held.qty + part, held.cost + part * price
                held.margin, held.taken = held.margin + took, (ZERO if first else held.taken) + took
                if resting.fields["kind"] == "ENTRY":
                    self._opened(held, first, took)
                return
            held.qty -= part
            if not held.qty:
                held.cost = held.margin = held.taken = ZERO

    def _tell(self, resting: Resting, status: str, filled: Decimal | None = None) -> None:
        before = resting.told[-1] if resting.told else {}
        done = Decimal(before.get("filled_qty", "0")) if filled is None else filled
        told = {**resting.fields, "ts": str(self.now), "status": status, "filled_qty": plain(done)}
        if done:
            told["avg_price"] = before.get("avg_price") or plain(self.marks[resting.held.symbol])
            told["fee"] = plain(done * Decimal(told["avg_price"]) * FEE)
        if resting.fields["kind"] in ("ENTRY", "ADD"):
            told["leverage"] = plain(resting.held.leverage)
        resting.live = status in ("NEW", "PARTIALLY_FILLED")
        resting.told.append(told)
        self._publish({name: value for name, value in told.items() if name != "stop"})
