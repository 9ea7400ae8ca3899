"""The paper exchange: does with orders, cancels, ticks and fills what S4 and the exchange behind it do.

Every change of state goes to the ledger, and as a result to `publish`, in order. `position_id` nets FUT positions, with
isolated margin, and separates SPOT holdings. On each tick, stops trigger before liquidations. Nothing here waits: the
timer runs what takes time. With a vault, a new exchange continues where the old one ended, and the first tick fills
the orders that were being filled.
"""

import itertools
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, localcontext
from functools import partial

from s6.paper.domain import EXACT, OPENING, ZERO, Order, Position, Quote, Side, SymbolSpec
from s6.paper.faults import CancelOutcome, Faults
from s6.paper.ledger import Ledger, now_ms
from s6.paper.order_checks import refusal
from s6.paper.registry import Books
from s6.paper.requests import Answer, CancelRequest, OrderRequest, by_hand
from s6.paper.settlement import Quota, Settlement
from s6.paper.timer import Timer
from s6.paper.vault import Vault
from s6.paper.wallet import Wallet

Publish = Callable[[Order, dict[str, object]], None]


class Exchange:
    """Orders and positions behind one lock. Any thread may call the public methods.

    It calls `publish(order, fields)` for each result, and before that `quota(market, fill_id, margin, born)` for what
    an ENTRY fill took, for the entry side's `risk:*` numbers.
    """

    def __init__(
        self,
        specs: Mapping[str, SymbolSpec],
        *,
        ledger: Ledger,
        faults: Faults,
        timer: Timer,
        wallet: Wallet,
        publish: Publish,
        quota: Quota,
        fee_rate: Decimal = Decimal("0.0004"),
        vault: Vault | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._specs = dict(specs)
        self._ledger, self._faults, self._timer = ledger, faults, timer
        self._publish, self._clock = publish, clock
        self._settlement = Settlement(ledger=ledger, wallet=wallet, quota=quota, fee_rate=fee_rate)
        self._quotes: dict[str, Quote] = {}
        self._books = Books(vault or Vault())
        self._run, self._numbers = secrets.token_hex(3), itertools.count(1)
        self._lock = threading.RLock()
        for symbol, spec in self._specs.items():
            self.set_spec(symbol, spec)
            for position in self._books.held(symbol):
                self._ledger.add("position", position.members())
            for order in self._books.live(symbol=symbol):
                self._ledger.add("order", order.ledger_members())

    def tick(self, symbol: str, quote: Quote) -> None:
        """Take a new quote: trigger stops, fill limit orders, liquidate."""
        with self._exact():
            self._quotes[symbol] = quote
            for order in self._books.live(symbol=symbol):
                due = order.type == "MARKET" or order.triggers_at(quote.mark) or order.limit_hit(quote)
                if due and order.live and not order.working:
                    self._work(order)
            for position in self._books.held(symbol):
                if position.qty and position.liquidated_at(quote.mark):
                    self.close(position.position_id, reason="LIQUIDATION")

    def quote(self, symbol: str) -> Quote | None:
        """Return the newest quote."""
        return self._quotes.get(symbol)

    def set_spec(self, symbol: str, spec: SymbolSpec) -> None:
        """Add or replace an instrument's grid."""
        with self._lock:
            self._specs[symbol] = spec
            self._ledger.add("symbol", {"symbol": symbol, **{f: getattr(spec, f) for f in SymbolSpec.__slots__}})

    def submit(self, request: OrderRequest, *, leverage: Decimal | None = None, force: bool = False) -> Answer:
        """Answer `POST /orders`. Only the entry side gives `leverage` and `force` (no check of the grid)."""
        with self._exact():
            if known := self._books.orders.get(request.client_order_id):
                same = all(getattr(known, name) == value for name, value in request.model_dump().items())
                return _accepted(known) if same else Answer(409, {"reason": "DUPLICATE_CLIENT_ORDER_ID"})
            position = self._books.positions.get(request.position_id)
            spec, quote = self._specs.get(request.symbol), self._quotes.get(request.symbol)
            reason = refusal(request, spec, quote, position, self._books.selling(request.position_id), force=force)
            if reason == "NOTHING_LEFT" and self._faults.plan.exchange.nothing_left != "http":
                return self._accept(request, leverage, end=(self._faults.plan.exchange.nothing_left, reason))
            if reason:
                return Answer(422, {"reason": reason})
            if refused := self._faults.order(request.kind):
                if refused.via == "http":
                    return Answer(422, {"reason": refused.reason})
                return self._accept(request, leverage, end=("REJECTED", refused.reason))
            return self._accept(request, leverage)

    def cancel(self, request: CancelRequest) -> Answer:
        """Answer `POST /cancel`: 202 and an outcome later, 404 for an unknown order, 409 for a terminal one."""
        with self._exact():
            order = self._books.orders.get(request.client_order_id)
            if order is None or (order.position_id, order.symbol) != (request.position_id, request.symbol):
                return Answer(404, {"reason": "UNKNOWN_ORDER"})
            if not order.live:
                return Answer(409, {"client_order_id": order.client_order_id, "status": order.status})
            if not order.cancel_pending:
                order.cancel_pending = True
                delay, outcome = self._faults.cancel(order.kind)
                self._timer.after(delay, partial(self._settle_cancel, order, outcome))
            return Answer(202, {"client_order_id": order.client_order_id, "status": "CANCEL_PENDING"})

    def find(self, client_order_id: str) -> Answer:
        """Answer `GET /orders/{client_order_id}`."""
        with self._exact():
            order = self._books.orders.get(client_order_id)
            return Answer(200, order.members()) if order else Answer(404, {"reason": "UNKNOWN_ORDER"})

    def close(self, position_id: str, qty: Decimal | None = None, *, reason: str = "MANUAL") -> Answer:
        """Close all or `qty` with a market order that S6 did not send: by hand, or by the exchange itself (`ADL`)."""
        with self._exact():
            position = self._books.positions.get(position_id)
            if position is None or position.qty == 0:
                return Answer(404, {"reason": "NOTHING_LEFT"})
            amount = position.qty if qty is None else qty
            request = by_hand(position, amount, reason, self._number())
            return self._accept(request, None, reason=reason)

    def orders(self, *, position_id: str | None = None, live: bool | None = None) -> list[dict[str, object]]:
        """Return orders as the ledger shows them, oldest first."""
        with self._exact():
            return [
                order.ledger_members()
                for order in self._books.orders.values()
                if position_id in (None, order.position_id) and live in (None, order.live)
            ]

    def positions(self, *, open_only: bool = False) -> list[dict[str, object]]:
        """Return positions, closed ones included, as the ledger shows them."""
        with self._exact():
            return [p.members() for p in self._books.positions.values() if p.qty or not open_only]

    @contextmanager
    def _exact(self) -> Iterator[None]:
        with self._lock, localcontext(EXACT):
            yield

    def _accept(
        self,
        request: OrderRequest,
        leverage: Decimal | None,
        *,
        end: tuple[str, str] | None = None,
        reason: str | None = None,
    ) -> Answer:
        members = request.model_dump()
        order = Order(**members, order_id=f"X{self._number()}", ts=self._clock(), leverage=leverage, reason=reason)
        if position := self._books.positions.get(order.position_id):
            order.life = position.life
        if end:
            self._note(order, publish=False)
            self._end(order, end[0], end[1])
        elif order.type == "MARKET":
            self._note(order, publish=False)
            self._work(order)
        else:
            self._note(order)
            self._await_maker(order)
            expiry_ms = self._faults.expiry_ms() if order.type == "STOP_MARKET" else None
            if expiry_ms is not None:
                self._timer.after(expiry_ms, partial(self._expire, order, "ENDED_BY_EXCHANGE"))
        return _accepted(order)

    def _number(self) -> str:
        """Return a number that no earlier run has used, so that ids made of it are unique."""
        return f"{self._run}{next(self._numbers)}"

    def _await_maker(self, order: Order) -> None:
        quote = self._quotes[order.symbol]
        if order.limit_hit(quote):
            self._work(order)
        elif order.type == "LIMIT":
            self._timer.after(self._faults.plan.exchange.maker_timeout_ms, partial(self._expire, order))

    def _expire(self, order: Order, reason: str = "MAKER_TIMEOUT") -> None:
        with self._exact():
            if order.live and not order.working:
                self._end(order, "EXPIRED", reason)

    def _work(self, order: Order) -> None:
        """Fill an order at once or in increments over time."""
        order.working = True
        rules = self._faults.plan.exchange
        if order.reason == "LIQUIDATION":
            self._fill(order, order.remaining, last=True)
            return
        parts = self._faults.fill_parts(order.kind)
        chunk = self._specs[order.symbol].floor(order.remaining / parts)
        chunks = [chunk] * (parts - 1) if chunk else []
        chunks.append(order.remaining - sum(chunks, ZERO))
        for index, qty in enumerate(chunks):
            delay = rules.fill_delay_ms + index * rules.fill_interval_ms
            last = index == len(chunks) - 1
            if delay:
                self._timer.after(delay, partial(self._fill, order, qty, last=last))
            else:
                self._fill(order, qty, last=last)

    def _fill(self, order: Order, qty: Decimal, *, last: bool) -> None:
        with self._exact():
            if not order.live:
                return
            position = self._position_of(order)
            if order.kind not in OPENING:
                qty = min(qty, position.qty)
            if qty:
                self._settlement.book(order, position, qty, self._price_of(order))
                self._books.note_position(position)
            if order.filled_qty == order.qty:
                self._end(order, "FILLED")
            elif order.kind not in OPENING and position.qty == 0:
                partly = self._faults.plan.exchange.overfill_status
                self._end(order, partly if order.filled_qty else "EXPIRED", "NOTHING_LEFT")
            elif last:
                self._end(order, "CANCELED")
            elif qty:
                order.status = "PARTIALLY_FILLED"
                self._note(order)
            if position.qty == 0 and self._faults.plan.exchange.auto_cancel_on_flat:
                self._cancel_rest(position.position_id)

    def _price_of(self, order: Order) -> Decimal:
        if order.reason == "LIQUIDATION":
            return self._books.positions[order.position_id].liq_price()
        quote = self._quotes[order.symbol]
        return order.price if order.type == "LIMIT" and order.price else quote.taker(order.side)

    def _position_of(self, order: Order) -> Position:
        position = self._books.positions.get(order.position_id)
        if position is None:
            side: Side = "LONG" if order.side == "BUY" else "SHORT"
            mmr = self._specs[order.symbol].mmr
            position = Position(order.position_id, order.symbol, order.market, side, order.leverage or Decimal(1), mmr)
        return position

    def _settle_cancel(self, order: Order, outcome: CancelOutcome) -> None:
        with self._exact():
            order.cancel_pending = False
            if not order.live:
                return
            ids = {"client_order_id": order.client_order_id, "position_id": order.position_id}
            self._ledger.add("cancel", ids | {"outcome": outcome})
            if outcome == "REJECTED":
                self._publish(order, order.members() | {"status": "CANCEL_REJECTED", "reason": "CANCEL_REJECTED"})
            elif outcome == "FILL":
                if not order.working:
                    self._work(order)
            elif outcome == "PARTIAL_FILL":
                half = self._specs[order.symbol].floor(order.remaining / 2)
                self._fill(order, half, last=True)
            elif outcome != "SILENT_LIVE":
                self._end(order, "CANCELED", publish=outcome == "CANCELED")

    def _cancel_rest(self, position_id: str) -> None:
        for order in self._books.live(position_id=position_id):
            self._end(order, "EXPIRED", "NOTHING_LEFT")

    def _end(self, order: Order, status: str, reason: str | None = None, *, publish: bool = True) -> None:
        order.status = status  # type: ignore[assignment]
        order.reason = reason or order.reason
        self._note(order, publish=publish)

    def _note(self, order: Order, *, publish: bool = True) -> None:
        order.ts = self._clock()
        self._books.note_order(order)
        self._ledger.add("order", order.ledger_members())
        if publish:
            self._publish(order, order.members())


def _accepted(order: Order) -> Answer:
    return Answer(200, {"client_order_id": order.client_order_id, "order_id": order.order_id, "status": "NEW"})
