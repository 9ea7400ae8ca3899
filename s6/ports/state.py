"""The live state in Redis (CONTRACT §7), cut by use. Every method may raise ``StateUnavailable``.

``s6.adapters.redis_state`` has them all. A consumer is typed with those it uses, joined in a protocol beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from s6.model.commit import Alert, Cleared, Commit, Doc, Loaded, Reservation, Waiting
from s6.model.market import Extremes, Features, MarketView, Tick
from s6.model.position import Order, Position


class StateUnavailable(Exception):
    """Redis could not be asked, or its answer was lost: nothing may be assumed either way."""


class PartUnavailable(StateUnavailable):
    """One node of a Redis Cluster could not be asked; what is on the others can be."""


class LockBusy(Exception):
    """Somebody else holds the lock."""


class LockLost(Exception):
    """The lock a commit was made under is no longer ours; nothing was written."""


class Locks(Protocol):
    """Locks by key. ``s6.locks`` holds them; a lock that is never given back serves as a turn."""

    def lock(self, key: str, ttl_ms: int) -> str | None:
        """Take a lock. Returns its owner's token, or None when somebody has it."""

    def unlock(self, key: str, token: str) -> bool:
        """Give it back. Returns False when it was no longer ours."""


class LongLocks(Locks, Protocol):
    """Locks that are held for as long as their holder gets on."""

    def prolong(self, key: str, token: str, ttl_ms: int) -> bool:
        """Have a lock expire only after ``ttl_ms`` from now. Returns False when it was no longer ours."""


class PositionLocks(Locks, Protocol):
    """The locks of positions."""

    def lock_and_load(self, position_id: str, ttl_ms: int) -> tuple[str | None, Loaded | None]:
        """Take the position's lock and read the position in one round trip.

        Returns its owner's token and the position; (None, None) when somebody has the lock.
        """


class Positions(Protocol):
    """Positions and their orders, read."""

    def load(self, position_id: str) -> Loaded | None: ...

    def load_many(self, position_ids: Sequence[str]) -> list[Loaded | None]: ...

    def load_reachable(self, position_ids: Sequence[str]) -> dict[str, Loaded | None]:
        """Return these positions by id, without those on a node of a cluster that is away. Raises if all are."""

    def seen_order(self, position_id: str, client_order_id: str) -> Order | None:
        """Return what is known of an order of this position, live or not."""

    def seen_orders(self, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Order | None]:
        """Return the same of many positions and orders, without those on a node of a cluster that is away."""

    def own_orders(self, position_id: str) -> list[Order]:
        """Return every order of the position that is remembered."""


class Commits(Protocol):
    """The one write of a position."""

    def commit(self, change: Commit) -> Position | None:
        """Write a change as a whole.

        Returns the position as it stands now (``rev`` one higher), or None when somebody else wrote first. Raises
        ``LockLost`` when the change's token no longer holds the lock.
        """

    def commit_many(self, changes: Sequence[Commit]) -> list[Position | None]:
        """Write changes of as many positions, none under a lock, in one trip, each as a whole and by itself.

        Returns what ``commit`` returns of each; None also for one on a node of a cluster that is away. Raises
        ``StateUnavailable``: any of them may have been written then.
        """

    def leaves(self, change: Commit) -> bool:
        """Return whether this commit leaves something in the outbox that its writer hands on by ``relay_events``."""


class PositionIndex(Protocol):
    """Which positions there are."""

    def open_ids(self) -> Iterator[str]:
        """Return the ids of open positions, and of closed ones that still have work to do, in no order."""

    def symbols(self) -> list[str]:
        """Return the symbols that have positions."""

    def ids_of(self, symbol: str) -> list[str]:
        """Return what ``open_ids`` has of one symbol."""

    def all_ids(self, *, after: str, limit: int) -> list[str]:
        """Return ids of every position ever, by name, beginning behind ``after``."""

    def settled(self, position: Position) -> None:
        """Take a closed position that needs nothing more out of the open index, and note when it closed."""

    def closed_before(self, ts: int, limit: int) -> list[str]:
        """Return settled positions that closed (or were rebuilt) before ``ts`` (ms), the oldest first."""

    def forget(self, position_id: str) -> bool:
        """Take a closed position out of Redis for good; the store has it. Returns whether it is gone.

        It stays while it is open anew or unverified, is being written, or something of it waits for the store or for
        others.
        """

    def note_gone(self, positions: Mapping[str, int]) -> None:
        """Note that the store alone knows these positions, since when (ms). The newest 100,000 are remembered."""

    def ops_in_flight(self) -> list[tuple[str, float]]:
        """Return ids of positions that may have an operation, with a mark that changes whenever another begins."""

    def op_settled(self, position_id: str, seen: float) -> None:
        """Take a position without an operation off that list, unless another began since ``seen``."""

    def note_sweep(self, now: int) -> None:
        """Remember when the last sweep ended (ms)."""


class PendingLooks(Protocol):
    """The looks at positions that were asked for and have not begun. A position has one at once and one later."""

    def note_looks(self, position_ids: Sequence[str], now: int, *, urgent: bool = False) -> Sequence[str]:
        """Note looks at once. Returns the positions that had none pending, or none as urgent as this."""

    def note_later_look(self, position_id: str, due: int) -> Sequence[str]:
        """Note a look at ``due`` (ms). Returns the position unless one is pending that comes as soon."""

    def take_look(self, position_id: str, now: int) -> None:
        """Take a position's looks off: the one at once, and the later one if it is due by ``now``."""

    def overdue_looks(self, before: int, limit: int) -> list[tuple[str, bool]]:
        """Return positions whose look was asked for, or due, before a time; and whether it is urgent."""


class Markets(Protocol):
    """What is known of each symbol's market."""

    def market(self, symbol: str, position_id: str = "") -> MarketView:
        """Return what is known of a symbol; with a position's id also the extremes since its last evaluation."""

    def markets(self, symbols: Iterable[str]) -> dict[str, MarketView]:
        """Return what is known of these symbols, without those on a node of a cluster that is away."""

    def put_tick(self, symbol: str, tick: Tick) -> None:
        """Keep a tick, unless a newer one is kept already."""

    def put_features(self, symbol: str, features: Features) -> None:
        """Keep features, unless newer ones are kept already."""

    def put_crossing(self, position_id: str, mark: Decimal, ts: int) -> None:
        """Widen the extremes of a position to a mark read at ``ts`` (ms).

        The worst is kept of the marks since the position's stop price came into force, the best of those since its last
        entry: an older one gives way.
        """

    def clear_crossing(self, position_id: str, seen: Extremes) -> None:
        """Forget the extremes that an evaluation has used; newer ones stay."""


class Parking(Protocol):
    """Results that wait for their position to be known."""

    def park(self, position_id: str, fields: Mapping[str, str], until_ts: int) -> None: ...

    def parked(self, position_id: str) -> list[Mapping[str, str]]: ...

    def parked_owners(self) -> set[str]:
        """Return the positions that results wait for."""

    def unpark(self, position_id: str, fields: Mapping[str, str]) -> None: ...

    def parked_overdue(self, now: int, longest: int | None = None) -> list[tuple[str, Mapping[str, str]]]:
        """Return position ids and results whose time to wait is over.

        With ``longest`` (ms), also those whose time lies further ahead than that: the clock has been set back.
        """


class Outbox(Protocol):
    """What commits have put beside their positions, on its way to others."""

    def relay_events(self, position_id: str, deliver: Callable[[Alert], object]) -> int:
        """Deliver the position's waiting alerts, then move its events to ``pos:events:SYMBOL`` and its quota moves to
        their counters.

        Returns how many were handed on, 0 when another relay is at it. What ``deliver`` has raised waits on, and all
        that stands behind it. A relay that was broken off is repeated.
        """

    def outbox_ids(self, limit: int) -> list[tuple[str, float]]:
        """Return positions with something in the outbox, with a mark that changes whenever more is put in."""

    def outbox_peek(self, position_id: str, limit: int) -> list[Doc]:
        """Return the position's oldest snapshots that wait for the store."""

    def outbox_read(self, position_ids: Sequence[str], limit: int) -> dict[str, Waiting]:
        """Return what each position has waiting, up to ``limit`` snapshots of each, in one round trip.

        A position on a node of a cluster that is away is absent.
        """

    def outbox_snapshots(self, position_ids: Sequence[str], limit: int) -> dict[str, list[Doc]]:
        """Return up to ``limit`` snapshots that each position has waiting, in one round trip.

        A position on a node of a cluster that is away is absent.
        """

    def outbox_clear(self, cleared: Sequence[Cleared]) -> list[str]:
        """Take off what the store has, unless others did already; and off the list each position that has no more.

        Returns the positions of which events still wait.
        """

    def outbox_size(self) -> int:
        """Return how many snapshots wait, over all positions."""


class Losses(Protocol):
    """What Redis has lost, and what was put back."""

    def may_be_lost(self, position_id: str) -> bool:
        """Return whether a missing position may have been there.

        So it is when an index names it, when it has left Redis for good, and while Redis is not reconciled.
        """

    def may_be_lost_many(self, position_ids: Sequence[str]) -> set[str]:
        """Return which of these may have been there, in one trip."""

    def doubt(self) -> None:
        """Have everything reconciled anew."""

    def trace(self, position_id: str) -> Mapping[str, str]:
        """Return what a position left behind when it left Redis: the fields that its next life needs, or none."""

    def torn(self, position_id: str) -> bool:
        """Return whether some of an existing position's keys are gone."""

    def note_rebuilt(self, position_id: str) -> None:
        """Remember a position that is about to be put back from the store, until ``rebuilt_done``."""

    def rebuilt(self) -> list[str]:
        """Return positions whose share of the quotas may not have been put back yet."""

    def rebuilt_done(self, position_id: str) -> None: ...

    def quota_whole(self, key: str) -> None:
        """Note that a counter has got back what it had lost: nothing restores it until Redis loses it, and this note
        with it."""


class Quotas(Protocol):
    """Budgets, and the adds at work."""

    def quota(self, key: str) -> Decimal:
        """Return what a counter holds; infinity where it is no number, so that nothing more fits."""

    def reserve_add(
        self,
        position_id: str,
        client_order_id: str,
        margin: Decimal,
        *,
        limit: int | None,
        room: Callable[[], Decimal] | None,
    ) -> bool:
        """Reserve an add's place and margin before it is begun. Returns False when ``limit`` adds are at work or their
        margins exceed ``room``.

        ``room`` is called once the reservations are read: what leaves them is in the budget by then. A commit that
        shows the order as ended ends the reservation, after its quota moves have been applied.
        """

    def release_add(self, position_id: str, client_order_id: str) -> None:
        """End a reservation, unless it is of another order."""

    def adds_reserved(self) -> Mapping[str, Reservation]:
        """Return the reservations by position."""
