"""What S6 needs of the outside but for its state: time, neighbours, alerts, metrics, hints, bundles, the mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from s6.model.answers import Balances, CancelAnswer, Placed, Refused, TransferAnswer
from s6.model.bundle import ActiveBundle
from s6.model.commit import Alert
from s6.model.market import MarketView
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Market, Severity
from s6.model.wire import OrderResult


class Clock(Protocol):
    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch, UTC."""

    def steady_ms(self) -> int:
        """Return milliseconds since some moment of this process's own; setting the clock does not change them."""


# --- neighbours -------------------------------------------------------------------------------------------------


class NeighbourUnavailable(Exception):
    """A neighbour gave no usable answer (5xx, 429, timeout, broken connection). It may have carried the request out."""

    def __init__(self, name: str, detail: str, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
        self.retry_after_ms = retry_after_ms


class UnexpectedAnswer(NeighbourUnavailable):
    """A final 4xx where the contract knows none: the neighbour, or what stands before it, is out of order."""

    def __init__(self, name: str, status: int, detail: str = "") -> None:
        super().__init__(name, f"HTTP {status} {detail}".strip())
        self.status = status


class Orders(Protocol):
    """S4. Each method raises ``NeighbourUnavailable`` when there was no usable answer."""

    def place(self, position: Position, order: Order) -> Placed | Refused: ...

    def cancel(self, position: Position, client_order_id: str, intent: str) -> CancelAnswer: ...

    def query(self, client_order_id: str) -> OrderResult | None:
        """Return the order as S4 has it, or None when S4 knows none (404)."""


class Wallets(Protocol):
    """S1's treasury face. Raises ``NeighbourUnavailable``."""

    def balances(self, asset: str) -> Balances: ...

    def transfer(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal) -> TransferAnswer: ...


class MarketSource(Protocol):
    """S1's market face."""

    def tick(self, symbol: str) -> Mapping[str, str] | None:
        """Return the fields of a tick as S1 has it now, or None if S1 offers none. Raises ``NeighbourUnavailable``."""


class Approvals(Protocol):
    """S12. Raises ``NeighbourUnavailable``."""

    def ask(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal, reason: str) -> str:
        """Ask people to decide. Returns an empty text when they are asked, else why S12 refuses for good."""


# --- alerts, metrics, hints -------------------------------------------------------------------------------------


class Alerts(Protocol):
    def raise_alert(
        self, severity: Severity, code: str, detail: str, *, position_id: str = "", scope: str = ""
    ) -> None:
        """Raise an alert, once within a quiet time for each code, position and ``scope``. Never raises an exception.

        ``scope`` is what else the alert is about: a transfer, a stream's entry.
        """

    def deliver(self, alert: Alert) -> None:
        """Raise an alert of a commit by the same rules, once however often it is delivered.

        It stands when this returns. Raises ``StateUnavailable``: then deliver it again.
        """

    def dead_letter(self, source: str, entry_id: str, error: str, payload: Mapping[str, str]) -> None:
        """Keep a message that cannot be handled in ``s6:deadletter``, and raise a WARN."""


class Metrics(Protocol):
    def inc(self, name: str, value: float = 1, **labels: str) -> None: ...

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def set(self, name: str, value: float, **labels: str) -> None: ...


class Hints(Protocol):
    """Asks for work to happen soon. A hint may be lost, doubled or late: the state holds the truth."""

    def evaluate(self, position_id: str, *, delay_ms: int = 0) -> None: ...

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        """Ask for many evaluations in one batch; ``urgent`` as ``protect`` does."""

    def protect(self, position_id: str) -> None:
        """Evaluate a position that may be without its stop, before all else."""

    def execute(self, position_id: str, op: Operation) -> None:
        """Drive an operation from its first stage (STOP_MOVE: cancel → await → place)."""

    def resume(self, position_id: str, op: Operation) -> None:
        """Take the next step of an operation that has just been woken."""


class BundleSource(Protocol):
    def current(self) -> ActiveBundle | None:
        """Return the bundle in force, immutable; None before the first has come."""

    @property
    def latest(self) -> ActiveBundle | None:
        """The newest bundle that this process has seen: what ``current`` returned last."""


class Gate(Protocol):
    """Whether new risk may be taken."""

    def mode(self, market: Market, view: MarketView, now: int, *, fresh: bool = False) -> str: ...
