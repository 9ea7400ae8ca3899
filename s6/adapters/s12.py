"""S12, operators' approvals, over HTTP (CONTRACT §3.7)."""

from __future__ import annotations

from decimal import Decimal

from s6.adapters.http import Neighbour


class S12Approvals:
    """``s6.ports.Approvals``. While S12 counts as down, it is not asked."""

    def __init__(self, neighbour: Neighbour) -> None:
        self._s12 = neighbour

    def ask(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal, reason: str) -> str:
        body = {
            "transfer_id": transfer_id,
            "from": src,
            "to": dst,
            "asset": asset,
            "amount": amount,
            "reason": reason,
        }
        answer = self._s12.call("POST", "/approvals", body, protective=False)
        return "" if answer.ok else f"HTTP {answer.status} {answer.text('reason')}".strip()
