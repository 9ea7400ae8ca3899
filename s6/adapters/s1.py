"""S1 over HTTP: its wallets, and a tick for a stream that is silent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import quote

from s6.adapters.http import Neighbour
from s6.adapters.reading import Reader
from s6.adapters.rests import Rests
from s6.model.answers import Balances, TransferAnswer
from s6.model.wire import BalancesMessage, MalformedMessage, printable
from s6.ports import NeighbourUnavailable, UnexpectedAnswer


class S1Market:
    """``s6.ports.MarketSource``.

    What becomes of these calls says nothing about S1 itself, since S1 need not offer them: the breaker is not told.
    """

    def __init__(self, neighbour: Neighbour) -> None:
        self._s1 = neighbour

    def tick(self, symbol: str) -> Mapping[str, str] | None:
        answer = self._s1.call("GET", f"/market/{quote(symbol, safe='')}", protective=False)
        if not answer.ok:
            return None
        return {printable(name): printable(str(value)) for name, value in answer.doc.items() if value is not None}


class S1Wallets:
    """``s6.ports.Wallets``. While S1 counts as down, it is not asked: money can wait."""

    def __init__(self, neighbour: Neighbour, reader: Reader, rests: Rests) -> None:
        self._s1, self._reader, self._rests = neighbour, reader, rests

    def balances(self, asset: str) -> Balances:
        path = f"/xchg/treasury/balances?asset={quote(asset, safe='')}"
        answer = self._rests.ask(self._s1, path, protective=False)
        if not answer.ok:
            raise UnexpectedAnswer(self._s1.name, answer.status, answer.text("reason"))
        try:
            told = self._reader.read(BalancesMessage, answer.doc)
        except MalformedMessage as fault:
            raise NeighbourUnavailable(self._s1.name, f"malformed balances: {fault}") from None
        return Balances(told.spot.free, told.fut.free, told.ts)

    def transfer(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal) -> TransferAnswer:
        body = {"transfer_id": transfer_id, "from": src, "to": dst, "asset": asset, "amount": amount}
        headers = {"Idempotency-Key": transfer_id}
        answer = self._s1.call("POST", "/xchg/treasury/transfer", body, headers=headers, protective=False)
        reason = answer.text("reason")
        if not answer.ok:
            return TransferAnswer("FAILED", "", reason or f"HTTP_{answer.status}")
        match answer.doc.get("status"):
            case "EXECUTED":
                return TransferAnswer("EXECUTED", answer.text("tx_id"), reason)
            case "FAILED":
                return TransferAnswer("FAILED", answer.text("tx_id"), reason)
            case other:
                raise NeighbourUnavailable(self._s1.name, f"malformed transfer: status is {other!r:.100}")
