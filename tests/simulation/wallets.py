"""S1's wallets and S12's approvers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tests.simulation.kernel import Kernel


class SimWallets:
    """Money moves once a ``transfer_id``. ``moved`` is the truth; ``began`` the ids in the order S1 first saw them."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.free = {"SPOT": Decimal(10_000), "FUT": Decimal(100)}
        self.moved: dict[str, Decimal] = {}
        self.bodies: dict[str, str] = {}
        self._answers: dict[str, dict[str, object]] = {}

    def handle(self, method: str, path: str, body: Mapping[str, object], text: str) -> tuple[int, dict[str, object]]:
        if method == "GET":
            return 200, {
                "asset": "USDT",
                "ts": self._kernel.now_ms(),
                "SPOT": {"free": self.free["SPOT"]},
                "FUT": {"free": self.free["FUT"]},
            }
        name = str(body["transfer_id"])
        assert self.bodies.setdefault(name, text) == text, f"transfer {name} asked for with two bodies"
        if name not in self._answers:
            self._answers[name] = self._move(name, body)
        return 200, self._answers[name]

    def _move(self, name: str, body: Mapping[str, object]) -> dict[str, object]:
        if self._kernel.rng.random() < 0.15:
            return {"transfer_id": name, "status": "FAILED", "reason": "LIMIT"}
        amount = Decimal(str(body["amount"]))
        self.free[str(body["from"])] -= amount
        self.free[str(body["to"])] += amount
        self.moved[name] = amount
        self._kernel.note(f"    S1 moves {amount}")
        return {"transfer_id": name, "status": "EXECUTED", "tx_id": f"tx-{name}"}


class SimApprovers:
    """S12: takes note of what it is asked."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.asked: list[str] = []

    def handle(self, method: str, path: str, body: Mapping[str, object], text: str) -> tuple[int, dict[str, object]]:
        name = str(body["transfer_id"])
        if name not in self.asked:
            self.asked.append(name)
        return 202, {}
