"""A small world for the treasury: wallets, approvers, a store and locks, all of which can fail at any step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, TypeVar

from s6.model import jsonx
from s6.model.answers import Balances, TransferAnswer
from s6.model.bundle import ActiveBundle, parse_bundle
from s6.model.commit import Alert
from s6.model.types import Severity
from s6.ports import Locks, NeighbourUnavailable
from s6.store import Document, Page, StoreError, StoreUnavailable
from s6.treasury import Treasury
from s6.treasury.dependencies import Transfers
from s6.treasury.record import IN_FLIGHT

T = TypeVar("T")
Fault = Literal["crash before", "crash after", "lost before", "lost after"]
"""A process dies, or the call fails, before or after the thing has happened."""

MOVED = {"t-1": Decimal(400)}
"""What S1 has moved when the transfer t-1, by need, was made once."""
START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


class Crash(BaseException):
    """The process is killed here."""


class Clock:
    def __init__(self) -> None:
        self.now = START_MS

    def now_ms(self) -> int:
        return self.now

    def steady_ms(self) -> int:
        return self.now


@dataclass
class Faults:
    """What goes wrong, by the number of the call."""

    plan: dict[int, Fault] = field(default_factory=dict)
    calls: int = 0
    dead: bool = False

    def call(self, act: Callable[[], T], lost: Exception) -> T:
        self.calls += 1
        fault = self.plan.get(self.calls)
        if fault == "lost before":
            raise lost
        if fault == "crash before":
            self.die()
        result = act()
        if fault == "lost after":
            raise lost
        if fault == "crash after":
            self.die()
        return result

    def die(self) -> None:
        self.dead = True
        raise Crash


class MemoryStore:
    """Transfers in memory; it refuses to see two in flight."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.docs: dict[str, Document] = {}
        self.broken: StoreError | None = None

    def insert_transfer(self, doc: Mapping[str, object]) -> bool:
        return self._call(lambda: self._insert(dict(doc)))

    def _call(self, act: Callable[[], T]) -> T:
        if self.broken:
            raise self.broken
        return self._faults.call(act, StoreUnavailable("down"))

    def _insert(self, doc: Document) -> bool:
        known = self.docs.values()
        if doc["transfer_id"] in self.docs or any(doc["turn"] == other["turn"] for other in known):
            return False
        assert not [other for other in known if other["status"] in IN_FLIGHT]
        self.docs[str(doc["transfer_id"])] = doc
        return True

    def transfer(self, transfer_id: str) -> Document | None:
        return self._call(lambda: _copy(self.docs.get(transfer_id)))

    def update_transfer(
        self, transfer_id: str, *, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None:
        return self._call(lambda: self._update(transfer_id, expect, changes))

    def _update(
        self, transfer_id: str, expect: str | Collection[str], changes: Mapping[str, object]
    ) -> Document | None:
        doc = self.docs.get(transfer_id)
        if doc is None or doc["status"] not in ((expect,) if isinstance(expect, str) else expect):
            return None
        doc.update(changes)
        return dict(doc)

    def transfers(
        self, *, limit: int = 100, cursor: str | None = None, status: str | Collection[str] | None = None
    ) -> Page:
        wanted = (status,) if isinstance(status, str) else status
        docs = [dict(doc) for doc in self.docs.values() if wanted is None or doc["status"] in wanted]
        docs.sort(key=lambda doc: int(str(doc["ts"])), reverse=True)
        return Page(docs[:limit], None)


def _copy(doc: Document | None) -> Document | None:
    return None if doc is None else dict(doc)


class Lock:
    """Locks with a TTL by the world's clock. A dead process gives nothing back."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock, self._faults = clock, faults
        self._held: dict[str, tuple[str, int]] = {}
        self._mutex = threading.Lock()
        self._count = 0

    def lock(self, key: str, ttl_ms: int) -> str | None:
        with self._mutex:
            if key in self._held and self._held[key][1] > self._clock.now:
                return None
            self._count += 1
            self._held[key] = (f"token-{self._count}", self._clock.now + ttl_ms)
            return self._held[key][0]

    def unlock(self, key: str, token: str) -> bool:
        with self._mutex:
            if self._faults.dead or self._held.get(key, ("", 0))[0] != token:
                return False
            del self._held[key]
            return True


class S1:
    """Wallets that move money once a transfer_id, and say the same again."""

    def __init__(self, faults: Faults, spot: int = 10_000, fut: int = 100) -> None:
        self._faults = faults
        self.free = {"SPOT": Decimal(spot), "FUT": Decimal(fut)}
        self.moved: dict[str, Decimal] = {}
        self.requests: list[tuple[str, str, str, str, Decimal]] = []
        self.refuse = ""
        self.down: NeighbourUnavailable | None = None
        self.balances_ts = 10**15  # always new
        self.during_balances: Callable[[], None] | None = None
        self._answers: dict[str, TransferAnswer] = {}
        self._mutex = threading.Lock()

    def balances(self, asset: str) -> Balances:
        assert asset == "USDT"
        if self.down:
            raise self.down
        balances = Balances(self.free["SPOT"], self.free["FUT"], self.balances_ts)
        hook, self.during_balances = self.during_balances, None
        if hook:
            hook()
        return self._faults.call(lambda: balances, NeighbourUnavailable("s1", "timeout"))

    def transfer(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal) -> TransferAnswer:
        if self.down:
            raise self.down
        act = lambda: self._transfer(transfer_id, src, dst, asset, amount)  # noqa: E731
        return self._faults.call(act, NeighbourUnavailable("s1", "timeout"))

    def _transfer(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal) -> TransferAnswer:
        with self._mutex:
            self.requests.append((transfer_id, src, dst, asset, amount))
            if transfer_id not in self._answers:
                if self.refuse:
                    self._answers[transfer_id] = TransferAnswer("FAILED", "", self.refuse)
                else:
                    self.free[src] -= amount
                    self.free[dst] += amount
                    self.moved[transfer_id] = self.moved.get(transfer_id, Decimal(0)) + amount
                    self._answers[transfer_id] = TransferAnswer("EXECUTED", f"tx-{transfer_id}", "")
            return self._answers[transfer_id]


class S12:
    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self.asked: list[tuple[str, str, str, str, Decimal, str]] = []
        self.down: NeighbourUnavailable | None = None
        self.refuse = ""

    def ask(self, transfer_id: str, src: str, dst: str, asset: str, amount: Decimal, reason: str) -> str:
        if self.down:
            raise self.down
        request = (transfer_id, src, dst, asset, amount, reason)
        self._faults.call(lambda: self.asked.append(request), NeighbourUnavailable("s12", "timeout"))
        return self.refuse


class Book:
    """Alerts and metrics as they were told."""

    def __init__(self) -> None:
        self.alerts: list[tuple[str, str]] = []
        self.counts: dict[str, float] = {}

    def raise_alert(
        self, severity: Severity, code: str, detail: str, *, position_id: str = "", scope: str = ""
    ) -> None:
        self.alerts.append((severity, code))

    def deliver(self, alert: Alert) -> None:
        raise AssertionError(alert)

    def dead_letter(self, *args: object, **kwargs: object) -> None:
        raise AssertionError((args, kwargs))

    def inc(self, name: str, value: float = 1, **labels: str) -> None:
        assert name == "s6_treasury_transfer_total"
        self.counts[labels["outcome"]] = self.counts.get(labels["outcome"], 0) + value

    def observe(self, name: str, value: float, **labels: str) -> None:
        raise AssertionError(name)

    def set(self, name: str, value: float, **labels: str) -> None:
        raise AssertionError(name)


class Hints:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        self.asked.append(transfer_id)


class Bundles:
    def __init__(self, **treasury: object) -> None:
        self.bundle: ActiveBundle | None = None
        self.set(**treasury)

    def set(self, **treasury: object) -> None:
        self.bundle = parse_bundle(jsonx.dumps({"version": "b-1", "symbols": {}, "treasury": treasury}))

    def current(self) -> ActiveBundle | None:
        return self.bundle

    @property
    def latest(self) -> ActiveBundle | None:
        return self.current()


class World:
    """Everything outside, and any number of processes in it: each ``treasury()`` is a new one that knows nothing."""

    def __init__(self, store: Transfers | None = None, locks: Locks | None = None, **treasury: object) -> None:
        self.clock = Clock()
        self.faults = Faults()
        self.memory = MemoryStore(self.faults)
        self.store: Transfers = self.memory if store is None else store
        self.locks: Locks = Lock(self.clock, self.faults) if locks is None else locks
        self.s1, self.s12, self.book, self.hints = S1(self.faults), S12(self.faults), Book(), Hints()
        self.bundles = Bundles(**treasury)
        # Alone, waiting for a lock is in vain; with others at work in threads it is not.
        self.sleep: Callable[[float], None] = time.sleep if store is not None else lambda _: None

    def treasury(self) -> Treasury:
        return Treasury(
            store=self.store,
            state=self.locks,
            wallets=self.s1,
            approvals=self.s12,
            bundles=self.bundles,
            alerts=self.book,
            metrics=self.book,
            clock=self.clock,
            hints=self.hints,
            approval_ttl_ms=HOUR_MS,
            sleep=self.sleep,
        )

    def trigger(self, transfer_id: str | None = "t-1", /, **other: object) -> Document:
        """A trigger from SPOT to FUT, by need unless there is an ``amount``."""
        asked = {"src": "SPOT", "dst": "FUT", "asset": "USDT", "reason": "test", "by": "tester", **other}
        return self.treasury().trigger(transfer_id=transfer_id, **asked)  # type: ignore[arg-type]

    def record(self, transfer_id: str = "t-1") -> Document:
        record = self.store.transfer(transfer_id)
        assert record is not None
        return record

    def settle(self) -> None:
        """Let the sweep come by until nothing is in flight: decisions that are missing run out of time."""
        for _ in range(20):
            if not self.treasury().sweep():
                return
            self.clock.now += HOUR_MS
        raise AssertionError("a transfer does not come to its end")
