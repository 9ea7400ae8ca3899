"""Bring a position's orders in line with what S4 says of them (CONTRACT §3.3): for cold starts and silent orders."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from s6 import jsonx
from s6.model.position import Order, Position
from s6.model.wire import MalformedMessage, OrderResult
from s6.operations.begin import ORDER_PREFIXES, ids
from s6.ports import Alerts, Clock, Orders, State
from s6.recording import Recorder
from s6.results import Results

#: So many operations in a row that S4 knows nothing of: there were no more.
UNKNOWN_IN_A_ROW: Final = 3


class Reconciler:
    def __init__(
        self, state: State, orders: Orders, results: Results, recorder: Recorder, clock: Clock, alerts: Alerts
    ) -> None:
        self._state = state
        self._orders = orders
        self._results = results
        self._recorder = recorder
        self.clock = clock
        self._alerts = alerts

    def position(self, position_id: str) -> int:
        """Ask S4 about every live order of the position; how many asked. Raises ``NeighbourUnavailable``."""
        loaded = self._state.load(position_id)
        if loaded is None:
            return 0
        in_flight = loaded.op.client_order_id if loaded.op is not None else ""
        asked = [o for o in loaded.position.orders if o.client_order_id != in_flight]
        for order in asked:
            self.order(position_id, order)
        return len(asked)

    def unrecorded(self, position_id: str, op_count: int) -> int:
        """Of a rebuilt position, book what S6 sent after the last snapshot that survived; how many orders asked for.

        The ids say it: they follow from the operation's number, ``op_count`` being the last one that was recorded.
        Raises ``NeighbourUnavailable``, ``StateUnavailable``.
        """
        loaded = self._state.load(position_id)
        asked, misses = 0, 0
        while loaded is not None and loaded.position.is_open and misses < UNKNOWN_IN_A_ROW:
            op_count += 1
            misses += 1
            for prefix in ORDER_PREFIXES:
                intent, client_order_id = ids(loaded.position, op_count, prefix)
                asked += 1
                result = self._orders.query(client_order_id)
                if result is not None:
                    misses = 0
                    self._adopt(result, intent)
        self._released(position_id)
        self._results.unpark(position_id)
        return asked

    def _released(self, position_id: str) -> None:
        """It need not wait for us any longer."""
        while (loaded := self._state.load(position_id)) is not None:
            p = replace(loaded.position, sl_not_before=0, hold_until=0)
            if self._recorder.write(p, loaded.op, self.clock.now_ms()) is not None:
                return

    def _adopt(self, result: OrderResult, intent: str) -> None:
        """Take an order of ours that nobody remembers into the books, with all that came of it.

        Why it was sent is lost: a TP is taken for the next rung, an ADD for the signal that stands.
        """
        while (loaded := self._state.load(result.position_id)) is not None:
            p = loaded.position
            signal = self._state.market(p.symbol).features.signal_id if result.kind == "ADD" else ""
            p = p.with_signal(signal) if signal else p
            order = Order(
                client_order_id=result.client_order_id,
                intent_id=intent,
                kind=result.kind,
                side=result.side,
                type=result.type,
                qty=result.qty,
                status="PENDING",
                sent_ts=result.ts,
                life=p.life,
                ours=True,
                rungs=_next_rung(p) if result.kind == "TP" else (),
                signal_id=signal,
            )
            if self._recorder.write(p, loaded.op, self.clock.now_ms(), orders=(order,)) is not None:
                self._book(result.position_id, result)
                return

    def order(self, position_id: str, order: Order) -> None:
        """Book what S4 says of one order; an order S4 doesn't know rests nowhere and is taken off.

        Raises ``NeighbourUnavailable``, ``StateUnavailable``.
        """
        result = self._orders.query(order.client_order_id)
        if result is None:
            self._gone(position_id, order)
        else:
            self._book(position_id, result)

    def _book(self, position_id: str, result: OrderResult) -> None:
        try:
            self._results.apply(result, {})
        except MalformedMessage as error:
            text = f"{result.client_order_id}: {error}"
            self._alerts.raise_alert("ERROR", "RECONCILE", text, position_id=position_id)

    def _gone(self, position_id: str, order: Order) -> None:
        """Off the live orders; its record keeps its last word, so that a later one from S4 still counts."""
        for _ in range(64):
            loaded = self._state.load(position_id)
            if loaded is None or loaded.position.order(order.client_order_id) is None:
                return
            p = loaded.position
            p = replace(p, orders=tuple(o for o in p.orders if o.client_order_id != order.client_order_id))
            if p.sl_order == order.client_order_id:
                p = replace(p, sl_order="", sl_qty=p.sl_qty * 0)
            cause = f"{order.kind} unknown to S4"
            if self._recorder.write(p, loaded.op, self.clock.now_ms(), phase="RESULT", cause=cause) is not None:
                return


def _next_rung(p: Position) -> tuple[int, ...]:
    ladder = jsonx.loads(p.ladder) if p.ladder else []
    return tuple(index for index in range(len(ladder)) if index not in p.tp_done)[:1]
