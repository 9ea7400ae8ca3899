"""The HTTP APIs of S1, S4, S10 and S12, each below its own base path (`/s1` …), subject to the configured faults."""

import time
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from s6.model.jsonx import loads
from s6.paper.approvals import Approvals
from s6.paper.bundle import BundleShelf
from s6.paper.exchange import Exchange
from s6.paper.faults import ROUTES, Faults, HttpVerdict
from s6.paper.http import Drop, Handler, Request, Router
from s6.paper.ledger import Ledger
from s6.paper.requests import Answer, ApprovalRequest, CancelRequest, OrderRequest, TransferRequest
from s6.paper.wallet import Wallet

Body = TypeVar("Body", bound=BaseModel)


class Neighbours:
    """Adds the neighbours' routes to a router."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        wallet: Wallet,
        shelf: BundleShelf,
        approvals: Approvals,
        faults: Faults,
        ledger: Ledger,
    ) -> None:
        self._exchange, self._wallet, self._shelf, self._approvals = exchange, wallet, shelf, approvals
        self._faults, self._ledger = faults, ledger

    def mount(self, router: Router) -> None:
        """Add the routes of all four."""
        self._add(router, "s4.orders", "POST", "/orders", self._orders)
        self._add(router, "s4.cancel", "POST", "/cancel", self._cancel)
        self._add(router, "s4.order", "GET", "/orders/{id}", self._order)
        self._add(router, "s1.transfer", "POST", "/xchg/treasury/transfer", self._transfer)
        self._add(router, "s1.balances", "GET", "/xchg/treasury/balances", self._balances)
        self._add(router, "s1.market", "GET", "/market/{symbol}", self._market)
        self._add(router, "s10.active", "GET", "/active", self._active)
        self._add(router, "s12.approvals", "POST", "/approvals", self._approve)
        for base in ROUTES:
            self._add(router, f"{base}.health", "GET", "/health", lambda request: Answer(200, {"status": "OK"}))

    def _orders(self, request: Request) -> Answer:
        return _with_body(request, OrderRequest, self._exchange.submit)

    def _cancel(self, request: Request) -> Answer:
        return _with_body(request, CancelRequest, self._exchange.cancel)

    def _order(self, request: Request) -> Answer:
        return self._exchange.find(request.params["id"])

    def _transfer(self, request: Request) -> Answer:
        key = request.headers.get("idempotency-key")
        return _with_body(request, TransferRequest, lambda body: self._wallet.transfer(body, key))

    def _balances(self, request: Request) -> Answer:
        return self._wallet.balances(request.query.get("asset", "USDT"))

    def _market(self, request: Request) -> Answer:
        symbol = request.params["symbol"]
        quote = self._exchange.quote(symbol)
        if quote is None:
            return Answer(404, {"reason": "UNKNOWN_SYMBOL"})
        return Answer(200, {"symbol": symbol, "ts": quote.ts, "mark": quote.mark, "bid": quote.bid, "ask": quote.ask})

    def _active(self, request: Request) -> Answer:
        return self._shelf.answer(request.headers.get("if-none-match"))

    def _approve(self, request: Request) -> Answer:
        return _with_body(request, ApprovalRequest, self._approvals.ask)

    def _add(self, router: Router, route: str, method: str, path: str, handler: Handler) -> None:
        quiet = route.endswith((".health", ".active", ".market"))
        base = route.split(".")[0]
        router.add(method, f"/{base}{path}", lambda request: self._guarded(route, handler, request, quiet=quiet))

    def _guarded(self, route: str, handler: Handler, request: Request, *, quiet: bool) -> Answer:
        """Handle one request with its fault. The ledger notes requests and answers, except health checks and polls."""
        number = 0 if quiet else self._ledger.add("request", _request_members(route, request))
        verdict = self._faults.http(route)
        if verdict.latency_ms:
            time.sleep(verdict.latency_ms / 1000)
        answer, delivered = _judge(verdict, lambda: handler(request))
        if not quiet:
            members = {"request": number, "route": route, "status": answer.status, "body": answer.body}
            self._ledger.add("answer", members | {"fault": verdict.action, "delivered": delivered})
        if not delivered and verdict.action not in {"error", "error_after"}:
            if verdict.action in {"hang_before", "hang_after"}:
                time.sleep(verdict.hang_ms / 1000)
            raise Drop
        return answer if delivered else _error(verdict)


def _judge(verdict: HttpVerdict, handle: Callable[[], Answer]) -> tuple[Answer, bool]:
    """Return the answer (the fault's own if nothing was handled), and whether the caller gets it."""
    if verdict.action in {"error", "reset_before", "hang_before"}:
        return _error(verdict), False
    return handle(), verdict.action is None


def _error(verdict: HttpVerdict) -> Answer:
    headers = () if verdict.retry_after_s is None else (("Retry-After", f"{verdict.retry_after_s:g}"),)
    return Answer(verdict.status, {"reason": "UNAVAILABLE"}, headers)


def _with_body(request: Request, model: type[Body], handle: Callable[[Body], Answer]) -> Answer:
    try:
        body = loads(request.body)
    except ValueError as error:
        return Answer(400, {"reason": "MALFORMED_JSON", "detail": str(error)})
    try:
        return handle(model.model_validate(body))
    except ValidationError as error:
        detail = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return Answer(422, {"reason": "MALFORMED", "detail": detail})


def _request_members(route: str, request: Request) -> dict[str, object]:
    try:
        body: object = loads(request.body) if request.body else None
    except ValueError:
        body = request.body.decode(errors="replace")
    return {"route": route, "method": request.method, "path": request.path, "body": body}
