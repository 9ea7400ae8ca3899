"""The simulated exchange and the S4 in front of it: the truth that S6's books are held against.

It knows nothing of S6's code but the wire's words. Whatever takes time is an event of the kernel; whatever goes wrong
is drawn from the seed's profile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Final

from s6.model.types import ZERO, plain
from s6.rules.exact import exactly, quotient, weighted_average
from tests.simulation.faults import Faults
from tests.simulation.kernel import Kernel
from tests.simulation.ledger import MIN_NOTIONAL, STEP, XOrder, XPosition
from tests.simulation.oddities import Spells, odd_answer, odd_result
from tests.simulation.profile import Profile

FEE: Final = Decimal("0.0004")
#: The pause after the first refused EXIT; it doubles with each further one.
PAUSE_MS: Final = 100
#: How soon at least a refusal that the stream tells of is known to whoever decides next, when it is not late.
HEARD_MS: Final = 100
LONGEST_PAUSE_MS: Final = 60_000


class Exchange:
    """``publish`` gets each result as the stream's fields; ``entered`` what an ENTRY fill took, for the entry side."""

    def __init__(
        self,
        kernel: Kernel,
        faults: Faults,
        publish: Callable[[dict[str, str]], None],
        entered: Callable[[XPosition, Decimal, bool], None],
    ) -> None:
        self._kernel, self._rng, self._faults = kernel, kernel.rng, faults
        self._publish, self._entered = publish, entered
        self.changes = 0
        self.marks: dict[str, Decimal] = {}
        self.path: list[tuple[int, Decimal]] = []
        self.exits_refused: dict[str, list[tuple[int, int]]] = {}
        self.orders: dict[str, XOrder] = {}
        self.positions: dict[str, XPosition] = {}
        self.bodies: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.fills: list[tuple[XOrder, Decimal, Decimal, int]] = []
        self.on_accept: Callable[[XOrder], None] = lambda order: None
        self.on_asked: Callable[[Mapping[str, object]], None] = lambda body: None
        self.spells = Spells(faults.profile)
        self.unpriced: set[str] = set()
        self.stops_refused: set[str] = set()
        self.denied: set[str] = set()  # orders of which S4 said, untruly, that it holds nothing
        self.missing: dict[str, list[int]] = {}  # when S6 read so, by position
        self.disturb = faults.disturb

    @property
    def _profile(self) -> Profile:
        return self._faults.profile

    # -- the wire ----------------------------------------------------------------------------------------------

    def place(self, body: Mapping[str, object], text: str) -> tuple[int, dict[str, object]]:
        """``POST /orders``: status and answer."""
        name = str(body["client_order_id"])
        if name in self.bodies:
            if self.bodies[name] != text:
                return 409, {"reason": "DUPLICATE_CLIENT_ORDER_ID"}
            if name in self.refused:
                return 422, {"reason": self.refused[name]}
            return 200, {"client_order_id": name, "order_id": f"X-{name}", "status": "NEW"}
        self.bodies[name] = text
        self.on_asked(body)
        reason = self._refusal(body) or self._spell(body)
        via_stream = False
        if not reason and self._rng.random() < self._profile.refuse:
            reason = self._rng.choice(["RISK_LIMIT", "RISK_LIMIT", "WOULD_TRIGGER", "PRICE_FILTER"])
            via_stream = self._rng.random() < 0.5
            self.disturb(1_500)
        if reason and body["kind"] == "SL":
            self.stops_refused.add(str(body["position_id"]))
        if reason and not via_stream:
            self.refused[name] = reason
            self._note_refusal(str(body["position_id"]), str(body["kind"]), known_after_ms=0)
            self._kernel.note(f"    S4 refuses {name}: {reason}")
            self.disturb(1_500)
            return 422, {"reason": reason}
        stop_px = Decimal(str(body["stopPx"])) if "stopPx" in body else None
        position = self.positions.get(str(body["position_id"]))
        order = XOrder(
            client_order_id=name,
            intent_id=str(body["intent_id"]),
            position_id=str(body["position_id"]),
            symbol=str(body["symbol"]),
            market=str(body["market"]),
            kind=str(body["kind"]),
            side=str(body["side"]),
            type=str(body["type"]),
            qty=Decimal(str(body["qty"])),
            reduce_only=bool(body["reduceOnly"]),
            stop_px=stop_px,
            ts=self._kernel.now,
            life=position.life if position else 0,
            ours=True,
        )
        self._accept(order, reason)
        return 200, {"client_order_id": name, "order_id": f"X-{name}", "status": "NEW"}

    def cancel(self, body: Mapping[str, object]) -> tuple[int, dict[str, object]]:
        """``POST /cancel``."""
        order = self.orders.get(str(body["client_order_id"]))
        if order is None:
            return 404, {"reason": "UNKNOWN_ORDER"}
        if not order.live:
            return 409, {"client_order_id": order.client_order_id, "status": order.status}
        if not order.cancelling:
            order.cancelling = True
            fate = self._profile.cancel_fate(self._rng)
            delay = self._rng.randint(1, 60)
            if fate != "CANCELED":
                self.disturb(3_000)
            self._kernel.at(delay, f"S4 cancel of {order.client_order_id}: {fate}", partial(self._settle, order, fate))
        return 202, {"client_order_id": order.client_order_id, "status": "CANCEL_PENDING"}

    def find(self, name: str) -> tuple[int, dict[str, object]]:
        """``GET /orders/{client_order_id}``."""
        order = self.orders.get(name)
        if order is None:
            return 404, {"reason": "UNKNOWN_ORDER"}
        odd = self._rng.random() < self._profile.odd
        return 200, odd_answer(self._fields(order)) if odd else dict(self._fields(order))

    def _spell(self, body: Mapping[str, object]) -> str:
        """Refuse what the spell that is on refuses."""
        name, kind = str(body["position_id"]), str(body["kind"])
        life = self.positions[name].life if name in self.positions else 0
        last = [o.stop_px for o in self.orders.values() if o.position_id == name and o.kind == "SL" and o.life == life]
        reason = self.spells.refusal(body, last[-1] if last else None, self._kernel.now)
        if reason:
            self.disturb(self.spells.pause_ms(name, kind) + 1_500)
            if reason == "NOTHING_LEFT":
                self.denied.add(str(body["client_order_id"]))
        return reason

    def _refusal(self, body: Mapping[str, object]) -> str:
        position = self.positions.get(str(body["position_id"]))
        held = position.qty if position else ZERO
        kind, qty = body["kind"], Decimal(str(body["qty"]))
        mark = self.marks[str(body["symbol"])]
        if qty % STEP:
            return "LOT_SIZE"
        if position is None or not held:
            return "NO_POSITION" if kind == "ADD" else "NOTHING_LEFT"
        if kind != "ADD" and body["side"] != position.closing_side:
            return "SIDE_MISMATCH"
        if "stopPx" in body:
            stop_px = Decimal(str(body["stopPx"]))
            if qty * stop_px < MIN_NOTIONAL:
                return "MIN_NOTIONAL"
            return "WOULD_TRIGGER" if (mark - stop_px) * position.dir <= 0 else ""
        return "MIN_NOTIONAL" if kind == "ADD" and qty * mark < MIN_NOTIONAL else ""

    # -- what others do at the exchange ------------------------------------------------------------------------

    def enter(self, position: XPosition, name: str, qty: Decimal, parts: int, spread_ms: int) -> None:
        """The entry side's order, filled in parts over time."""
        self.positions.setdefault(position.position_id, position)
        order = self._foreign(position, name, "ENTRY", qty)
        order.side = "BUY" if position.side == "LONG" else "SELL"
        self._accept(order, "", parts=parts, spread_ms=spread_ms)

    def close_by_hand(
        self, position: XPosition, name: str, qty: Decimal, wire_id: str | None = None, order_id: str = ""
    ) -> None:
        """A market order that S6 knows nothing of; results bear ``wire_id`` and ``order_id`` where they are given."""
        order = self._foreign(position, name, "EXIT", qty)
        order.wire_id, order.order_id = wire_id, order_id
        self._accept(order, "")

    def stop_entries(self, position_id: str) -> None:
        """The entry side takes back what of its orders has not filled."""
        for order in self.live_orders(position_id):
            if order.kind == "ENTRY":
                self._end(order, "CANCELED", "")

    def _foreign(self, position: XPosition, name: str, kind: str, qty: Decimal) -> XOrder:
        return XOrder(
            client_order_id=name,
            intent_id="",
            position_id=position.position_id,
            symbol=position.symbol,
            market=position.market,
            kind=kind,
            side=position.closing_side,
            type="MARKET",
            qty=qty,
            reduce_only=kind != "ENTRY",
            stop_px=None,
            ts=self._kernel.now,
            life=position.life,
            ours=False,
        )

    def _note_refusal(self, position_id: str, kind: str, known_after_ms: int) -> None:
        if kind == "EXIT":
            now = self._kernel.now
            self.exits_refused.setdefault(position_id, []).append((now, now + known_after_ms))

    def exit_pause(self, position_id: str, decided_ts: int) -> int:
        """Until when no EXIT is to follow those that were refused since the last fill, and that were known by then."""
        refused = [ts for ts, known in self.exits_refused.get(position_id, []) if known <= decided_ts]
        return refused[-1] + min(PAUSE_MS * 2 ** (len(refused) - 1), LONGEST_PAUSE_MS) if refused else 0

    def marks_since(self, ts: int) -> list[Decimal]:
        """The mark at ``ts`` and all since."""
        before = [mark for when, mark in self.path if when < ts][-1:]
        return [*before, *(mark for when, mark in self.path if when >= ts)]

    def tick(self, symbol: str, mark: Decimal) -> None:
        """A new mark: stops that it reaches begin to fill."""
        self.marks[symbol] = mark
        self.path.append((self._kernel.now, mark))
        for order in list(self.orders.values()):
            if order.symbol == symbol and order.live and not order.working and order.stop_px is not None:
                self._trigger(order)

    def _trigger(self, order: XOrder) -> None:
        direction = 1 if order.side == "SELL" else -1
        assert order.stop_px is not None
        if (self.marks[order.symbol] - order.stop_px) * direction <= 0:
            self._kernel.note(f"stop {order.client_order_id} at {order.stop_px} is hit")
            self._work(order, 1 + (self._rng.random() < self._profile.partial), 40)

    def live_orders(self, position_id: str) -> list[XOrder]:
        return [o for o in self.orders.values() if o.position_id == position_id and o.live]

    # -- matching ----------------------------------------------------------------------------------------------

    def _accept(self, order: XOrder, reject: str, parts: int = 0, spread_ms: int = 60) -> None:
        self.orders[order.client_order_id] = order
        self.changes += 1
        at = f" at {order.stop_px}" if order.stop_px is not None else ""
        self._kernel.note(f"    S4 takes {order.client_order_id} {order.kind} {order.side} {plain(order.qty)}{at}")
        if order.ours:
            self.on_accept(order)
        if reject:
            delay = self._rng.choice([0, 1, 20, 300])
            self._kernel.at(delay, "", partial(self._end, order, "REJECTED", reject))
        elif order.type == "MARKET":
            parts = parts or 1 + sum(self._rng.random() < self._profile.partial for _ in range(2))
            self._work(order, parts, spread_ms)
        else:
            self._tell(order)
            if self.spells.on("EXPIRY", self._kernel.now):
                self._kernel.at(self._rng.randint(1, 300), "", partial(self._expire, order))

    def _expire(self, order: XOrder) -> None:
        """End a resting stop, by the exchange's own will."""
        if order.live and not order.working:
            self.stops_refused.add(order.position_id)
            self.disturb(self.spells.pause_ms(order.position_id, "SL") + 1_500)
            self._end(order, self._rng.choice(["EXPIRED", "CANCELED"]), "ENDED_BY_EXCHANGE")

    def _work(self, order: XOrder, parts: int, spread_ms: int) -> None:
        order.working = True
        part = quotient(order.remaining, Decimal(parts)) // STEP * STEP
        delay = 0
        if order.type == "MARKET" and order.ours and self._rng.random() < self._profile.slow_fill:
            delay = self._rng.randint(500, 4_000)
            self.disturb(delay)
        for number in range(parts):
            delay += self._rng.randint(1, max(spread_ms, 2))
            last = number == parts - 1
            self._kernel.at(delay, "", partial(self._fill, order, None if last else part))

    def _fill(self, order: XOrder, part: Decimal | None) -> None:
        """``part`` None: all that remains."""
        if not order.live:
            return
        position = self.positions[order.position_id]
        qty = order.remaining if part is None else min(part, order.remaining)
        if not order.opens:
            qty = min(qty, position.qty)
        raised = self._profile.terms == "STEP"  # then it would be less than a step, and count as rounding
        if order.kind == "ENTRY" and part is None and not raised and self._rng.random() < self._profile.odd:
            with exactly():
                qty += 3 * STEP  # more than was ordered
        if qty:
            self._book(order, position, qty, self.marks[order.symbol])
        if order.filled >= order.qty:
            self._end(order, "FILLED", "")
        elif not order.opens and not position.qty:
            self._end(order, self._rng.choice(["EXPIRED", "CANCELED"]), "NOTHING_LEFT")
        elif qty:
            order.status = "PARTIALLY_FILLED"
            self._tell(order)

    def _book(self, order: XOrder, position: XPosition, qty: Decimal, price: Decimal) -> None:
        with exactly():
            fee = qty * price * FEE
            order.filled += qty
            order.cost += qty * price
            order.fee += fee
        order.news_ts = self._kernel.now
        order.first_fill_ts = order.first_fill_ts or self._kernel.now
        self.spells.filled(order.position_id)
        if order.opens:
            self._enlarge(order, position, qty, price)
        else:
            self.exits_refused.pop(position.position_id, None)
            self.missing.pop(position.position_id, None)
            with exactly():
                position.realized += (price - position.entry) * qty * position.dir
                left = position.qty - qty
            position.margin = quotient(position.margin * left, position.qty)
            position.qty = left
        with exactly():
            position.realized -= fee
        self.fills.append((order, qty, price, position.life))
        position.changed_ts = self._kernel.now
        self.changes += 1
        position.trail.append((self._kernel.now, position.qty))
        self._kernel.note(f"    fill {order.client_order_id} {plain(qty)} @ {price}: holds {plain(position.qty)}")
        if not position.qty:
            position.closed_ts, position.margin = self._kernel.now, ZERO
            self.stop_entries(position.position_id)

    def _enlarge(self, order: XOrder, position: XPosition, qty: Decimal, price: Decimal) -> None:
        born = not position.qty
        if born:
            position.life += 1
            position.opened_ts = self._kernel.now
            position.taken = position.realized = position.q0 = position.added = position.margin = ZERO
            position.adds, position.by_add = 0, order.kind == "ADD"
        order.life = position.life
        with exactly():
            margin = quotient(qty * price, position.leverage)
            position.entry = weighted_average(position.qty, position.entry, qty, price)
            position.qty += qty
            position.margin += margin
            position.taken += margin
            if order.kind == "ADD":
                position.adds += order.filled == qty
                position.added += qty
            else:
                position.q0 += qty
        if order.kind == "ENTRY":
            self._entered(position, margin, born)
        order.figures = {"leverage": plain(position.leverage)} if position.market == "FUT" else {}
        if position.market == "FUT" and self._profile.figures:
            order.figures["isolated_margin_usdt"] = plain(position.margin)

    def _settle(self, order: XOrder, fate: str) -> None:
        order.cancelling = False
        if not order.live:
            return
        if fate == "REJECTED":
            said = {"ts": str(self._kernel.now), "status": "CANCEL_REJECTED", "reason": "CANCEL_REJECTED"}
            self._publish(self._fields(order) | said)
        elif fate == "FILL":
            if not order.working:
                self._work(order, 1, 20)
        elif fate == "PART":
            half = quotient(order.remaining, Decimal(2)) // STEP * STEP
            position = self.positions[order.position_id]
            qty = min(half, position.qty)
            if qty:
                self._book(order, position, qty, self.marks[order.symbol])
            self._end(order, "CANCELED", "")
        elif fate == "SILENT_GONE":
            self._end(order, "CANCELED", "", tell=False)
        elif fate == "LATE":
            self._end(order, "CANCELED", "", tell=False)
            self._kernel.at(self._rng.randint(1_500, 4_000), "", partial(self._tell, order))
        elif fate == "CANCELED":
            self._end(order, "CANCELED", "")

    def _end(self, order: XOrder, status: str, reason: str, tell: bool = True) -> None:
        if not order.live:
            return
        order.status, order.reason, order.news_ts = status, reason, self._kernel.now
        self.changes += 1
        if status == "REJECTED":
            self._note_refusal(order.position_id, order.kind, known_after_ms=HEARD_MS)
        self._kernel.note(f"    {order.client_order_id} is {status} {reason}".rstrip())
        if tell:
            self._tell(order)

    def _tell(self, order: XOrder) -> None:
        fields = self._fields(order)
        if self._rng.random() < self._profile.odd:
            told, owed = odd_result(fields, order, self._rng)
            if order.filled and told.get("avg_price") != fields["avg_price"]:
                self.unpriced.add(order.position_id)
            fields = told | ({"owed": "FIGURES_ODD"} if owed else {})
        self._publish(fields)

    def _fields(self, order: XOrder) -> dict[str, str]:
        fields = {
            "ts": str(order.news_ts or order.ts),
            "symbol": order.symbol,
            "market": order.market,
            "position_id": order.position_id,
            "client_order_id": order.client_order_id if order.wire_id is None else order.wire_id,
            "intent_id": order.intent_id,
            "kind": order.kind,
            "side": order.side,
            "type": order.type,
            "status": order.status,
            "qty": plain(order.qty),
            "filled_qty": plain(order.filled),
        }
        if order.filled:
            fields["avg_price"] = plain(quotient(order.cost, order.filled))
            fields["fee"] = plain(order.fee)
        if order.reason:
            fields["reason"] = order.reason
        if order.order_id:
            fields["order_id"] = order.order_id
        return fields | order.figures
