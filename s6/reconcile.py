"""Bring a position's orders in line with what S4 says of them (CONTRACT §3.3): for cold starts and silent orders."""

from __future__ import annotations

from dataclasses import replace

from s6.model.position import Order
from s6.model.wire import MalformedMessage
from s6.ports import Alerts, Clock, Orders, State
from s6.recording import Recorder
from s6.results import Results


class Reconciler:
    def __init__(
        self, state: State, orders: Orders, results: Results, recorder: Recorder, clock: Clock, alerts: Alerts
    ) -> None:
        self._state = state
        self._orders = orders
        self._results = results
        self._recorder = recorder
        self._clock = clock
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

    def order(self, position_id: str, order: Order) -> None:
        """Book what S4 says of one order; an order S4 doesn't know rests nowhere and is taken off.

        Raises ``NeighbourUnavailable``, ``StateUnavailable``.
        """
        result = self._orders.query(order.client_order_id)
        if result is None:
            self._gone(position_id, order)
            return
        try:
            self._results.apply(result, {})
        except MalformedMessage as error:
            self._alerts.raise_alert("ERROR", "RECONCILE", f"{order.client_order_id}: {error}", position_id=position_id)

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
            if self._recorder.write(p, loaded.op, self._clock.now_ms(), phase="RESULT", cause=cause) is not None:
                return
