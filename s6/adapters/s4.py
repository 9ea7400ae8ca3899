"""S4, order execution, over HTTP (CONTRACT §3.1 to §3.3)."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from s6.adapters.http import Answer, Neighbour
from s6.adapters.reading import Reader
from s6.adapters.rests import Rests
from s6.model.answers import CancelAnswer, Placed, Refused
from s6.model.position import Order, Position
from s6.model.wire import MalformedMessage, OrderResult
from s6.ports import Alerts, NeighbourUnavailable, UnexpectedAnswer

_REDUCE_ONLY: Final = frozenset({"SL", "TP", "REDUCE", "EXIT", "GUARD"})


class S4Orders:
    """``s6.ports.Orders``. Stops, closes, cancels and queries are asked even of an S4 that counts as down; adds not."""

    def __init__(self, neighbour: Neighbour, reader: Reader, alerts: Alerts, rests: Rests) -> None:
        self._s4, self._reader, self._alerts, self._rests = neighbour, reader, alerts, rests

    def place(self, position: Position, order: Order) -> Placed | Refused:
        answer = self._s4.call("POST", "/orders", order_body(position, order), protective=order.kind != "ADD")
        if answer.ok:
            named = answer.text("client_order_id")
            if named and named != order.client_order_id:
                raise NeighbourUnavailable(self._s4.name, f"answered for {named}, asked for {order.client_order_id}")
            return Placed(answer.text("status") or "NEW")
        if answer.status == 409:
            return Refused("ID_CONFLICT")
        if answer.status == 422:
            return Refused(answer.text("reason") or "HTTP_422")
        raise UnexpectedAnswer(self._s4.name, answer.status, answer.text("reason"))

    def cancel(self, position: Position, client_order_id: str, intent: str) -> CancelAnswer:
        body = {
            "intent_id": intent,
            "client_order_id": client_order_id,
            "position_id": position.position_id,
            "symbol": position.symbol,
        }
        answer = self._s4.call("POST", "/cancel", body)
        if answer.ok:
            return CancelAnswer("PENDING")
        if answer.status == 404:
            return CancelAnswer("UNKNOWN")
        status = answer.text("status").upper() if answer.status == 409 else ""
        return CancelAnswer(status or "REFUSED")

    def query(self, client_order_id: str) -> OrderResult | None:
        answer = self._rests.ask(self._s4, f"/orders/{quote(client_order_id, safe='')}")
        if answer.status == 404:
            return None
        if not answer.ok:
            raise NeighbourUnavailable(self._s4.name, f"HTTP {answer.status} for GET /orders")
        return self._understood(client_order_id, answer)

    def _understood(self, client_order_id: str, answer: Answer) -> OrderResult:
        """Return what can be understood of an order; an ERROR names the order of which something cannot."""
        asked = f"GET /orders/{client_order_id}"
        try:
            result = self._reader.read(OrderResult, {"client_order_id": client_order_id, **answer.doc})
            if result.client_order_id != client_order_id:
                raise MalformedMessage(f"client_order_id: {result.client_order_id} answers for another order")
        except MalformedMessage as error:
            self._alerts.raise_alert("ERROR", "ORDER_UNREADABLE", f"{asked}: {error}", scope=client_order_id)
            raise NeighbourUnavailable(self._s4.name, f"malformed order: {error}") from error
        if result.guessed:
            text = f"{asked}: {'; '.join(result.guessed)}"
            self._alerts.raise_alert("ERROR", "RESULT_UNCLEAR", text, position_id=result.position_id)
        return result


def order_body(position: Position, order: Order) -> dict[str, object]:
    """Return the body of ``POST /orders``: a function of what is recorded, so that each repetition is the same."""
    body: dict[str, object] = {
        "intent_id": order.intent_id,
        "client_order_id": order.client_order_id,
        "position_id": position.position_id,
        "symbol": position.symbol,
        "market": position.market,
        "kind": order.kind,
        "side": order.side,
        "type": order.type,
        "qty": order.qty,
    }
    if order.stop_px is not None:
        body["stopPx"] = order.stop_px
    body["reduceOnly"] = position.market == "FUT" and order.kind in _REDUCE_ONLY
    return body
