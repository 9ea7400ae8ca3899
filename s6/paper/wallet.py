"""S1's treasury on paper: the SPOT and FUT wallets and transfers between them."""

import threading
from collections.abc import Callable
from decimal import Decimal

from pydantic import TypeAdapter

from s6.paper.domain import CENT
from s6.paper.faults import Faults
from s6.paper.ledger import Ledger, now_ms
from s6.paper.requests import Answer, TransferRequest
from s6.paper.vault import Vault

_FREE = TypeAdapter(dict[str, Decimal])
_TRANSFER = TypeAdapter(tuple[TransferRequest, dict[str, str]])


class Wallet:
    """Free USDT per wallet.

    With `follows_trades`, fills change it, and it may fall below zero like a futures wallet.
    """

    def __init__(
        self,
        spot: Decimal,
        fut: Decimal,
        *,
        ledger: Ledger,
        faults: Faults,
        follows_trades: bool = True,
        vault: Vault | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._free = {"SPOT": spot, "FUT": fut}
        self._answers: dict[str, tuple[TransferRequest, dict[str, str]]] = {}
        self._ledger, self._faults, self._clock = ledger, faults, clock
        self._follows_trades = follows_trades
        self._lock = threading.Lock()
        self._vault = vault or Vault()
        for text in self._vault.all("wallets"):
            self._free |= _FREE.validate_json(text)
        for text in self._vault.all("transfer"):
            request, body = _TRANSFER.validate_json(text)
            self._answers[request.transfer_id] = (request, body)

    def book(self, market: str, amount: Decimal) -> None:
        """Add what a fill gives, or subtract what it takes (a negative `amount`)."""
        if self._follows_trades:
            with self._lock:
                self._free[market] += amount.quantize(CENT)
                self._keep()

    def set(self, **free: Decimal) -> None:
        """Set wallets (`SPOT`, `FUT`) to the given amounts."""
        with self._lock:
            self._free |= free
            self._keep()
            self._ledger.add("balances", dict(self._free))

    def refill(self, below: Decimal, to: Decimal) -> None:
        """Raise the SPOT wallet to `to` if it holds less than `below`: paper money is not scarce."""
        with self._lock:
            if self._follows_trades and self._free["SPOT"] < below:
                self._free["SPOT"] = to
                self._keep()
                self._ledger.add("balances", dict(self._free))

    def balances(self, asset: str = "USDT") -> Answer:
        """Answer `GET /xchg/treasury/balances`."""
        if asset != "USDT":
            return Answer(422, {"reason": "UNKNOWN_ASSET"})
        with self._lock:
            wallets = {name: {"free": free} for name, free in self._free.items()}
            return Answer(200, {"asset": asset, **wallets, "ts": self._clock()})

    def transfer(self, request: TransferRequest, idempotency_key: str | None) -> Answer:
        """Answer `POST /xchg/treasury/transfer`. Money moves at most once for a `transfer_id`."""
        if idempotency_key != request.transfer_id:
            return Answer(422, {"reason": "IDEMPOTENCY_KEY_MISMATCH"})
        with self._lock:
            if known := self._answers.get(request.transfer_id):
                same = known[0] == request
                return Answer(200, known[1]) if same else Answer(409, {"reason": "DUPLICATE_TRANSFER_ID"})
            reason = self._faults.transfer() or self._move(request)
            body = {"transfer_id": request.transfer_id, "status": "FAILED" if reason else "EXECUTED"}
            body |= {"reason": reason} if reason else {"tx_id": f"tx-{len(self._answers) + 1}"}
            self._answers[request.transfer_id] = (request, body)
            self._vault.keep(
                "transfer", request.transfer_id, _TRANSFER.dump_json((request, body), by_alias=True).decode()
            )
            self._keep()
            members = request.model_dump(by_alias=True) | {"status": body["status"], "reason": reason}
            self._ledger.add("transfer", members)
            return Answer(200, body)

    def _move(self, request: TransferRequest) -> str | None:
        if request.source == request.to:
            return "SAME_WALLET"
        if self._free[request.source] < request.amount:
            return "INSUFFICIENT_FUNDS"
        self._free[request.source] -= request.amount
        self._free[request.to] += request.amount
        return None

    def _keep(self) -> None:
        self._vault.keep("wallets", "USDT", _FREE.dump_json(self._free).decode())
