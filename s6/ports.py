"""What S6 needs of the outside, as protocols: state, orders, transfers, bundles, hints, time.

The history store's port stands with its adapters in ``s6.store.port``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from s6.model.answers import Balances, CancelAnswer, Placed, Refused, TransferAnswer
from s6.model.bundle import ActiveBundle
from s6.model.commit import Alert, Cleared, Commit, Doc, Loaded, Waiting
from s6.model.market import Extremes, Features, MarketView, Tick
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Market, Severity
from s6.model.wire import OrderResult


class Clock(Protocol):
    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""


class StateUnavailable(Exception):
    """Redis could not be asked, or its answer was lost: nothing may be assumed either way."""


class LockBusy(Exception):
    """Somebody else holds the lock."""


class LockLost(Exception):
    """The lock a commit was made under is no longer ours; nothing was written."""


class Locks(Protocol):
    """Locks in Redis (``s6.locks`` holds them). Every method may raise ``StateUnavailable``."""

    def lock(self, key: str, ttl_ms: int) -> str | None:
        """Take a lock. Returns its owner's token, or None when somebody has it."""

    def unlock(self, key: str, token: str) -> bool:
        """Give it back. Returns False when it was no longer ours."""


class PositionLocks(Locks, Protocol):
    def lock_and_load(self, position_id: str, ttl_ms: int) -> tuple[str | None, Loaded | None]:
        """Take the position's lock and read the position in one round trip.

        Returns its owner's token and the position; (None, None) when somebody has the lock.
        """


class State(PositionLocks, Protocol):
    """The live state of positions (CONTRACT §7). Every method may raise ``StateUnavailable``."""

    def load(self, position_id: str) -> Loaded | None: ...

    def load_many(self, position_ids: Sequence[str]) -> list[Loaded | None]: ...

    def commit(self, change: Commit) -> Position | None:
        """Write; the position as it stands now (``rev`` one higher), or None when somebody else wrote first.

        Raises ``LockLost`` when the token no longer holds the lock.
        """

    def seen_order(self, position_id: str, client_order_id: str) -> Order | None:
        """What is known of an order of this position, live or not."""

    def own_orders(self, position_id: str) -> list[Order]:
        """Every order of the position that is remembered."""

    def open_ids(self) -> Iterator[str]:
        """The ids of open positions (and of closed ones that still have work to do), in no order."""

    def symbols(self) -> list[str]:
        """Symbols that have ever had a position."""

    def ids_of(self, symbol: str) -> list[str]: ...

    def all_ids(self, *, after: str, limit: int) -> list[str]:
        """Ids of every position ever, by name, beginning behind ``after``."""

    def settled(self, position: Position) -> None:
        """Take a closed position that needs nothing more out of the open index."""

    def ops_in_flight(self) -> list[tuple[str, float]]:
        """Ids of positions that may have an operation, with a mark that changes whenever another is begun."""

    def op_settled(self, position_id: str, seen: float) -> None:
        """Take a position without an operation off that list, unless another was begun since ``seen``."""

    # markets
    def market(self, symbol: str, position_id: str = "") -> MarketView:
        """What is known of a symbol; with a position's id also the extremes since its last evaluation."""

    def markets(self, symbols: Iterable[str]) -> dict[str, MarketView]: ...

    def put_tick(self, symbol: str, tick: Tick) -> None: ...

    def put_features(self, symbol: str, features: Features) -> None: ...

    def put_crossing(self, position_id: str, mark: Decimal, ts: int) -> None: ...

    def clear_crossing(self, position_id: str, seen: Extremes) -> None:
        """Forget the extremes an evaluation has used; newer ones stay."""

    # results that wait for their position
    def park(self, position_id: str, fields: Mapping[str, str], until_ts: int) -> None: ...

    def parked(self, position_id: str) -> list[Mapping[str, str]]: ...

    def unpark(self, position_id: str, fields: Mapping[str, str]) -> None: ...

    def parked_overdue(self, now: int) -> list[tuple[str, Mapping[str, str]]]: ...

    # outbox
    def relay_events(self, position_id: str, tell: Callable[[Alert], object]) -> int:
        """Have the position's waiting alerts told, and move its events to ``pos:events:SYMBOL`` and its quota moves to
        their counters; how many were handed on, 0 when another relay is at it.

        What ``tell`` has raised waits on, and all that stands behind it. A relay that was broken off is repeated.
        """

    def outbox_ids(self, limit: int) -> list[tuple[str, float]]:
        """Positions with something in the outbox, with a mark that changes whenever more is put in."""

    def outbox_peek(self, position_id: str, limit: int) -> list[Doc]:
        """The position's oldest snapshots that wait for the store."""

    def outbox_read(self, position_ids: Sequence[str], limit: int) -> list[Waiting]:
        """What each position has waiting, up to ``limit`` snapshots of each, in one go."""

    def outbox_clear(self, cleared: Sequence[Cleared]) -> None:
        """Take off what the store has, nothing where others already did; and off the list who has no more."""

    def outbox_size(self) -> int: ...

    # what Redis has lost
    def may_be_lost(self, position_id: str) -> bool:
        """Whether a position that isn't there may have been: an index names it, or Redis was emptied lately."""

    def doubt(self) -> None:
        """Have everything reconciled anew."""

    def torn(self, position_id: str) -> bool:
        """Whether some of an existing position's keys are gone."""

    def note_rebuilt(self, position_id: str) -> None:
        """Remember a position that is about to be put back from the store, until ``rebuilt_done``."""

    def rebuilt(self) -> list[str]:
        """Positions whose share of the quotas may not have been put back yet."""

    def rebuilt_done(self, position_id: str) -> None: ...

    def quota_whole(self, key: str) -> None:
        """Note that a counter has got back whatever it had lost: from here on nothing restores it, until Redis loses
        it, and this note with it."""

    def note_sweep(self, now: int) -> None:
        """Remember when the last sweep ended (ms)."""

    # budgets and modes
    def quota(self, key: str) -> Decimal: ...

    def reserve_add(self, position_id: str, margin: Decimal, *, limit: int | None, room: Decimal | None) -> bool:
        """Book an add before it is begun: False when ``limit`` adds are at work or their margins exceed ``room``.

        A commit that shows an ADD order as ended gives the place back; ``release_add`` does so by hand.
        """

    def release_add(self, position_id: str) -> None: ...

    def adds_reserved(self) -> list[str]: ...


# --- neighbours -------------------------------------------------------------------------------------------------


class NeighbourUnavailable(Exception):
    """No usable answer: 5xx, 429, timeout, broken connection. The request may or may not have been carried out."""

    def __init__(self, name: str, detail: str, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name
        self.detail = detail
        self.retry_after_ms = retry_after_ms


class Orders(Protocol):
    """S4. Each method raises ``NeighbourUnavailable`` when there was no usable answer."""

    def place(self, position: Position, order: Order) -> Placed | Refused: ...

    def cancel(self, position: Position, client_order_id: str, intent: str) -> CancelAnswer: ...

    def query(self, client_order_id: str) -> OrderResult | None:
        """The order as S4 has it, None when it knows none (404)."""


class Wallets(Protocol):
    """S1's treasury face. Raises ``NeighbourUnavailable``."""

    def balances(self, asset: str) -> Balances: ...

    def transfer(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal) -> TransferAnswer: ...


class Approvals(Protocol):
    """S12. Raises ``NeighbourUnavailable``."""

    def ask(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal, reason: str) -> str:
        """Ask people to decide. Empty: it is being asked; else why S12 refuses for good."""


# --- telling others ---------------------------------------------------------------------------------------------


class Alerts(Protocol):
    def raise_alert(
        self, severity: Severity, code: str, detail: str, *, position_id: str = "", scope: str = ""
    ) -> None:
        """Tell people. The same code for the same position and ``scope`` (what else it is about: a transfer, a
        stream's entry) within its quiet time is told once. Never raises."""

    def deliver(self, alert: Alert) -> None:
        """Tell people what a commit has to tell them, by the same rules; once, however often it is delivered.

        Told when this returns. Raises ``StateUnavailable``: then deliver it again.
        """

    def dead_letter(self, source: str, entry_id: str, error: str, payload: Mapping[str, str]) -> None:
        """Keep a message that can't be handled (``s6:deadletter``) and raise a WARN."""


class Metrics(Protocol):
    def inc(self, name: str, value: float = 1, **labels: str) -> None: ...

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def set(self, name: str, value: float, **labels: str) -> None: ...


class Hints(Protocol):
    """How one part asks for another to happen soon. A hint may be lost, doubled or late: the state tells the truth."""

    def evaluate(self, position_id: str, *, delay_ms: int = 0) -> None: ...

    def evaluate_many(self, position_ids: Sequence[str]) -> None:
        """Ask for many evaluations in one batch."""

    def protect(self, position_id: str) -> None:
        """Evaluate a position that may be without its stop, before all else."""

    def execute(self, position_id: str, op: Operation) -> None:
        """Drive an operation from its first stage (STOP_MOVE: cancel → await → place)."""

    def resume(self, position_id: str, op: Operation) -> None:
        """Take the next step of an operation that has just been woken."""


class BundleSource(Protocol):
    def current(self) -> ActiveBundle | None:
        """The bundle in force, immutable; None before the first has come."""


class Gate(Protocol):
    """Whether new risk may be taken."""

    def mode(self, market: Market, view: MarketView, now: int, *, fresh: bool = False) -> str: ...
