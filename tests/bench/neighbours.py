"""S1, S4, S10 and S12 in one process of their own, so that what they take is no part of what is measured.

    python -m tests.bench.neighbours --redis URL --port PORT --symbols 500

S10 serves a bundle, S1 and S12 are merely well. S4 accepts every order and every cancel after a set time, and puts the
outcome on the stream. It tells by ``/control`` what it was sent and when (s since the epoch).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any, Final

import requests

from s6 import keys
from s6.adapters.redis_client import connect
from tests.bench.market import QTY, bundle, stop_name, symbol_of

STREAM_LENGTH: Final = 20_000
Fields = dict[str, Any]


class Neighbours:
    """What all connections share. ``answer_s``: until S4 answers. ``outcome_s``: from then until a cancel's outcome.

    One in ``unanswered`` questions about an order gets no answer (0: each gets one).
    """

    def __init__(self, redis: Any, symbols: int) -> None:
        self._redis = redis
        self._symbols = symbols
        self._due: list[tuple[str, dict[str, str]]] = []
        self.bundle = json.dumps(bundle("bench-1", symbols))
        self.settings = {"answer_s": 0.005, "outcome_s": 0.0, "unanswered": 0}
        self.orders: dict[str, Fields] = {}
        self.requests: list[Fields] = []
        self.counts = {"SL": 0, "cancel": 0, "asked": 0, "published": 0}

    def order(self, body: Fields) -> tuple[float, int, Fields]:
        name, now = body["client_order_id"], time.time()
        answer_s = self.settings["answer_s"]
        if name not in self.orders:
            self.orders[name] = body
            self.counts[body["kind"]] = self.counts.get(body["kind"], 0) + 1
            self.requests.append(_request(body["kind"], body, now, answer_s))
            asyncio.get_running_loop().call_later(answer_s, self._publish, body, "NEW")
        return answer_s, 200, {"client_order_id": name, "order_id": f"x-{name}", "status": "NEW"}

    def cancel(self, body: Fields) -> tuple[float, int, Fields]:
        name, now = body["client_order_id"], time.time()
        answer_s, outcome_s = self.settings["answer_s"], self.settings["outcome_s"]
        known = self.orders.get(name) or resting(name)
        if known is None:
            return answer_s, 404, {"reason": "UNKNOWN_ORDER"}
        self.counts["cancel"] += 1
        self.requests.append({**_request("cancel", body, now, answer_s), "outcome": now + answer_s + outcome_s})
        asyncio.get_running_loop().call_later(answer_s + outcome_s, self._publish, known, "CANCELED")
        return answer_s, 202, {"client_order_id": name, "status": "CANCEL_PENDING"}

    def query(self, name: str) -> tuple[float, int, Fields] | None:
        self.counts["asked"] += 1
        if self.settings["unanswered"] and self.counts["asked"] % self.settings["unanswered"] == 0:
            return None
        known = self.orders.get(name) or resting(name)
        if known is None:
            return self.settings["answer_s"], 404, {"reason": "UNKNOWN_ORDER"}
        return self.settings["answer_s"], 200, _result(known, "NEW")

    def control(self, path: str, body: bytes) -> Fields | list[Fields]:
        if path == "settings":
            self.settings.update(json.loads(body))
        elif path == "bundle":
            self.bundle = json.dumps(bundle(**json.loads(body), symbols=self._symbols))
        elif path == "requests":
            return self.requests
        elif path == "forget":
            self.requests.clear()
        return self.counts

    def _publish(self, order: Fields, status: str) -> None:
        if not self._due:
            asyncio.get_running_loop().call_soon(self._flush)
        self._due.append((keys.RESULTS + order["symbol"], _result(order, status)))

    def _flush(self) -> None:
        """Put on the stream what has come together in this turn of the loop, in one trip."""
        pipe = self._redis.pipeline(transaction=False)
        for stream, fields in self._due:
            pipe.xadd(stream, fields, maxlen=STREAM_LENGTH, approximate=True)
        self.counts["published"] += len(self._due)
        self._due.clear()
        pipe.execute()


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as far as S6 speaks it."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours, self._unread = neighbours, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = self._unread[:end].decode("latin-1")
            length = next(
                (int(h.partition(":")[2]) for h in head.split("\r\n") if h.lower().startswith("content-le")), 0
            )
            if len(self._unread) < end + 4 + length:
                return
            body, self._unread = self._unread[end + 4 : end + 4 + length], self._unread[end + 4 + length :]
            method, path, _ = head.split(" ", 2)
            self._serve(method, path.split("?")[0], body)

    def _serve(self, method: str, path: str, body: bytes) -> None:
        known = self._neighbours
        if path.startswith("/control/"):
            self._answer(0, 200, json.dumps(known.control(path.removeprefix("/control/"), body)))
        elif path == "/active":
            self._answer(0, 200, known.bundle)
        elif path == "/orders":
            self._answer_doc(known.order(json.loads(body)))
        elif path == "/cancel":
            self._answer_doc(known.cancel(json.loads(body)))
        elif path.startswith("/orders/"):
            self._answer_doc(known.query(path.removeprefix("/orders/")))
        else:
            self._answer(0, 200 if path == "/health" else 404, "{}")

    def _answer_doc(self, answer: tuple[float, int, Fields] | None) -> None:
        if answer is None:
            self._transport.abort()
        else:
            self._answer(answer[0], answer[1], json.dumps(answer[2]))

    def _answer(self, after_s: float, status: int, text: str) -> None:
        body = text.encode()
        whole = (
            f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self._transport.write, whole)
        else:
            self._transport.write(whole)


def resting(name: str) -> Fields | None:
    """Return the stop that a filled-in position has at S4 (``tests.bench.filling``), None if the name is another's."""
    position_id = name.removeprefix(stop_name(""))
    if position_id == name:
        return None
    order = {"position_id": position_id, "symbol": symbol_of(position_id), "client_order_id": name, "qty": QTY}
    return {**order, "kind": "SL", "side": "SELL", "type": "STOP_MARKET", "market": "FUT", "intent_id": ""}


def _request(what: str, body: Fields, now: float, answer_s: float) -> Fields:
    return {"what": what, "position_id": body["position_id"], "at": now, "answered": now + answer_s}


def _result(order: Fields, status: str) -> dict[str, str]:
    names = ("position_id", "symbol", "market", "client_order_id", "intent_id", "kind", "side", "type", "qty")
    told = {name: str(order[name]) for name in names}
    name = order["client_order_id"]
    return {**told, "ts": str(int(time.time() * 1000)), "status": status, "filled_qty": "0", "order_id": f"x-{name}"}


class NeighboursClient:
    """Asks the process what it was sent, and has it behave otherwise."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()

    def set(self, **settings: float) -> None:
        """Set ``answer_s``, ``outcome_s`` or ``unanswered``."""
        self._call("settings", settings)

    def publish_bundle(self, version: str, **members: object) -> None:
        """Serve this bundle from now on (``tests.bench.market.bundle``). It is announced by the caller."""
        self._call("bundle", {"version": version, **members})

    def count(self, what: str) -> int:
        """Return how many of a kind (SL, …, ``cancel``, ``asked``) came, or how many results were ``published``."""
        return int(self._call("counts").get(what, 0))

    def requests(self, *what: str) -> list[Fields]:
        """Return what S4 was sent of these kinds: when it came, and when it was answered."""
        return [each for each in self._call("requests") if each["what"] in what]

    def forget(self) -> None:
        """Remember no requests from before."""
        self._call("forget")

    def _call(self, path: str, body: object = None) -> Any:
        return self._session.post(f"{self.url}/control/{path}", json=body, timeout=30).json()


async def serve(redis_url: str, port: int, symbols: int) -> None:
    neighbours = Neighbours(connect(redis_url), symbols)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(neighbours), "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--symbols", type=int, default=500)
    options = parser.parse_args()
    asyncio.run(serve(options.redis, options.port, options.symbols))


if __name__ == "__main__":
    main()
