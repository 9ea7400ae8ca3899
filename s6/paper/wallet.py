"""S1's treasury: the SPOT and FUT wallets and transfers between them."""

import threading
from collections.abc import Callable
from decimal import Decimal

from s6.paper.book import CENT
from s6.paper.faults import Faults
from s6.paper.ledger import Ledger, now_ms
from s6.paper.requests import Answer, TransferRequest


class Wallet:
    """Free USDT per wallet. Fills move it when `follows_trades`; it may go below zero then, as a futures wallet can."""

    def __init__(
        self,
        spot: Decimal,
        fut: Decimal,
        *,
        ledger: Ledger,
        faults: Faults,
        follows_trades: bool = True,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._free = {"SPOT": spot, "FUT": fut}
        self._answers: dict[str, tuple[TransferRequest, Answer]] = {}
        self._ledger, self._faults, self._clock = ledger, faults, clock
        self._follows_trades = follows_trades
        self._lock = threading.Lock()

    def book(self, market: str, amount: Decimal) -> None:
        """What a fill gives (or, negative, takes)."""
        if self._follows_trades:
            with self._lock:
                self._free[market] += amount.quantize(CENT)

    def set(self, **free: Decimal) -> None:
        """Set wallets (`SPOT`, `FUT`) to amounts."""
        with self._lock:
            self._free |= free
            self._ledger.add("balances", dict(self._free))

    def refill(self, below: Decimal, to: Decimal) -> None:
        """Fill the SPOT wallet up `to` an amount when it holds less than `below`: paper money is not scarce."""
        with self._lock:
            if self._follows_trades and self._free["SPOT"] < below:
                self._free["SPOT"] = to
                self._ledger.add("balances", dict(self._free))

    def balances(self, asset: str = "USDT") -> Answer:
        """`GET /xchg/treasury/balances`."""
        if asset != "USDT":
            return Answer(422, {"reason": "UNKNOWN_ASSET"})
        with self._lock:
            wallets = {name: {"free": free} for name, free in self._free.items()}
            return Answer(200, {"asset": asset, **wallets, "ts": self._clock()})

    def transfer(self, request: TransferRequest, idempotency_key: str | None) -> Answer:
        """`POST /xchg/treasury/transfer`: money moves at most once a `transfer_id`."""
        if idempotency_key != request.transfer_id:
            return Answer(422, {"reason": "IDEMPOTENCY_KEY_MISMATCH"})
        with self._lock:
            if known := self._answers.get(request.transfer_id):
                return known[1] if known[0] == request else Answer(409, {"reason": "DUPLICATE_TRANSFER_ID"})
            reason = self._faults.transfer() or self._move(request)
            body: dict[str, object] = {"transfer_id": request.transfer_id, "status": "FAILED" if reason else "EXECUTED"}
            body |= {"reason": reason} if reason else {"tx_id": f"tx-{len(self._answers) + 1}"}
            answer = Answer(200, body)
            self._answers[request.transfer_id] = (request, answer)
            members = request.model_dump(by_alias=True) | {"status": body["status"], "reason": reason}
            self._ledger.add("transfer", members)
            return answer

    def _move(self, request: TransferRequest) -> str | None:
        if request.source == request.to:
            return "SAME_WALLET"
        if self._free[request.source] < request.amount:
            return "INSUFFICIENT_FUNDS"
        self._free[request.source] -= request.amount
        self._free[request.to] += request.amount
        return None
