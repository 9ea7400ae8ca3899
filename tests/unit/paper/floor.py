"""A paper exchange without Redis or HTTP: results go to a list."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from s6.paper.bundle import SPECS, paper_bundle
from s6.paper.domain import Order, Quote
from s6.paper.entries import Entries, EntryOrder
from s6.paper.exchange import Exchange
from s6.paper.faults import Faults
from s6.paper.ledger import Ledger, Record
from s6.paper.requests import Answer, CancelRequest, OrderRequest
from s6.paper.timer import Timer
from s6.paper.wallet import Wallet


class Clock:
    """Wall clock of the ledger; moves only when told."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_ms(self, duration: int) -> None:
        self.now += duration


@dataclass
class Floor:
    """The exchange with its parts, and short ways to use it on BTCUSDT."""

    ledger: Ledger
    faults: Faults
    timer: Timer
    wallet: Wallet
    clock: Clock
    results: list[dict[str, object]] = field(default_factory=list)
    quotas: list[tuple[str, str, Decimal, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.exchange = Exchange(
            SPECS,
            ledger=self.ledger,
            faults=self.faults,
            timer=self.timer,
            wallet=self.wallet,
            publish=self._publish,
            quota=lambda *members: self.quotas.append(members),
            clock=self.clock,
        )
        self.entries = Entries(self.exchange, run="t")
        self.ledger.add("bundle", {"version": "paper-1", "text": paper_bundle(SPECS)})

    def _publish(self, order: Order, members: dict[str, object]) -> None:
        self.results.append(members)

    def tick(self, mark: str, bid: str | None = None, ask: str | None = None) -> None:
        price = Decimal(mark)
        self.exchange.tick("BTCUSDT", Quote(price, Decimal(bid or mark), Decimal(ask or mark), price, 1))

    def enter(self, position_id: str, side: str, qty: str, leverage: str = "10", market: str = "FUT") -> Answer:
        order = EntryOrder(position_id, "BTCUSDT", side, Decimal(qty), Decimal(leverage), market)  # type: ignore[arg-type]
        return self.entries.enter(order)

    def order(self, client_order_id: str, kind: str, side: str, qty: str, **more: object) -> Answer:
        body: dict[str, object] = {
            "intent_id": f"i-{client_order_id}",
            "client_order_id": client_order_id,
            "position_id": "p",
            "symbol": "BTCUSDT",
            "market": "FUT",
            "kind": kind,
            "side": side,
            "type": "STOP_MARKET" if kind == "SL" else "MARKET",
            "qty": qty,
            "reduceOnly": kind not in {"ENTRY", "ADD"} and more.get("market") != "SPOT",
        }
        return self.exchange.submit(OrderRequest.model_validate(body | more))

    def stop(self, client_order_id: str, side: str, qty: str, price: str, **more: object) -> Answer:
        return self.order(client_order_id, "SL", side, qty, stopPx=price, **more)

    def signal(self, side: str, signal_id: str) -> None:
        members = {"symbol": "BTCUSDT", "signal": side, "signal_id": signal_id, "regime": None, "atr": None}
        self.ledger.add("feature", members)

    def request(self, route: str, body: Mapping[str, object], answer: Mapping[str, object], **more: object) -> None:
        """Note a request and its answer as the neighbours do."""
        number = self.ledger.add("request", {"route": route, "method": "POST", "path": "", "body": body})
        members = {"request": number, "route": route, "status": 200, "body": answer, "fault": None, "delivered": True}
        self.ledger.add("answer", members | more)

    def cancel(self, client_order_id: str, position_id: str = "p") -> Answer:
        request = CancelRequest(
            intent_id=f"c-{client_order_id}",
            client_order_id=client_order_id,
            position_id=position_id,
            symbol="BTCUSDT",
        )
        return self.exchange.cancel(request)

    def position(self, position_id: str = "p") -> dict[str, object]:
        return next(p for p in self.exchange.positions() if p["position_id"] == position_id)

    def of(self, client_order_id: str) -> list[dict[str, object]]:
        return [result for result in self.results if result["client_order_id"] == client_order_id]

    def statuses(self, client_order_id: str) -> list[object]:
        return [result["status"] for result in self.of(client_order_id)]

    def records(self) -> list[Record]:
        return self.ledger.records()


def eventually(condition: Callable[[], bool], timeout_s: float = 3.0) -> None:
    """Wait until `condition` holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)
