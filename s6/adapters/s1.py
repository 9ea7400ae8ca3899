"""S1's treasury face over HTTP (CONTRACT §3.4, §3.5)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import quote

from s6.adapters.http import Neighbour
from s6.model.answers import Balances, TransferAnswer
from s6.model.numbers import Fault, number
from s6.ports import NeighbourUnavailable, UnexpectedAnswer


class S1Wallets:
    """``s6.ports.Wallets``. While S1 counts as down, it is not asked: money can wait."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._s1 = neighbour

    def balances(self, asset: str) -> Balances:
        answer = self._s1.call("GET", f"/xchg/treasury/balances?asset={quote(asset, safe='')}", protective=False)
        if not answer.ok:
            raise UnexpectedAnswer(self._s1.name, answer.status, answer.text("reason"))
        return Balances(self._free(answer.doc, "SPOT"), self._free(answer.doc, "FUT"))

    def _free(self, doc: Mapping[str, object], wallet: str) -> Decimal:
        member = doc.get(wallet)
        free = member.get("free") if isinstance(member, Mapping) else None
        try:
            return number(free)
        except Fault as fault:
            raise NeighbourUnavailable(self._s1.name, f"malformed balances: {wallet}.free {fault}") from None

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
