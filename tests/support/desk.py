"""S6's core at one desk: the real services over Redis and a store in memory, and an S4 that says what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.engine.commands import OperatorCommands
from s6.engine.executor import Executor
from s6.engine.governor import Governor
from s6.engine.looks import Looks
from s6.engine.outbox_relay import OutboxRelay
from s6.engine.recorder import Change, Recorder
from s6.engine.results import Results
from s6.engine.results_batch import ResultsBatch
from s6.engine.sweep import Sweep
from s6.model.answers import CancelAnswer, Placed, Refused
from s6.model.bundle import ActiveBundle
from s6.model.commit import Commit
from s6.model.market import MarketView
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.types import Market
from s6.model.wire import OrderResult
from s6.plan.terms import in_force
from s6.ports import NeighbourUnavailable
from s6.recovery.cold_start import ColdStart
from s6.recovery.rebuilder import Rebuilder
from s6.recovery.reconciler import Reconciler
from tests.doubles.memory_redis import MemoryRedis
from tests.simulation.memory_store import MemoryStore
from tests.support.doubles import ManualClock, MemoryAlerts, MemoryMetrics


@dataclass
class ToldS4:
    """``s6.ports.Orders``: ``has`` is what it knows, ``sent`` what it was sent, ``asked`` what it was asked for;
    ``before`` is called with the id of each order that is asked for, ``placing`` with each that is sent.

    It answers every order with ``answer`` and every cancel with ``cancels``.
    """

    has: dict[str, OrderResult] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    down: bool = False
    retry_after_ms: int | None = None
    before: Callable[[str], object] = str
    placing: Callable[[Order], object] = repr
    answer: Placed | Refused = field(default_factory=lambda: Placed("NEW"))
    cancels: CancelAnswer = field(default_factory=lambda: CancelAnswer("PENDING"))
    orders: list[Order] = field(default_factory=list)

    def place(self, position: Position, order: Order) -> Placed | Refused:
        self._reach()
        self.sent.append(order.client_order_id)
        self.orders.append(order)
        self.placing(order)
        return self.answer

    def cancel(self, position: Position, client_order_id: str, intent: str) -> CancelAnswer:
        self._reach()
        self.sent.append(f"cancel {client_order_id}")
        return self.cancels

    def query(self, client_order_id: str) -> OrderResult | None:
        self._reach()
        self.before(client_order_id)
        self.asked.append(client_order_id)
        return self.has.get(client_order_id)

    def _reach(self) -> None:
        if self.down:
            raise NeighbourUnavailable("s4", "away", self.retry_after_ms)


@dataclass
class NotedHints:
    """``s6.ports.Hints``: what was asked for. ``delays`` and ``attempts`` went with ``evaluate``."""

    evaluated: list[str] = field(default_factory=list)
    protected: list[str] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    driven: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)

    def evaluate(self, position_id: str, *, delay_ms: int = 0, attempt: int = 0) -> None:
        self.evaluated.append(position_id)
        self.delays.append(delay_ms)
        self.attempts.append(attempt)

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        self.evaluated += position_ids
        self.protected += position_ids if urgent else ()

    def protect(self, position_id: str) -> None:
        self.evaluated.append(position_id)
        self.protected.append(position_id)

    def waiting(self) -> int | None:
        return 0

    def execute(self, position_id: str, op: Operation) -> None:
        self.driven.append(op.op_id)

    def resume(self, position_id: str, op: Operation) -> None:
        self.driven.append(op.op_id)
        self.resumed.append(op.op_id)


@dataclass
class Rules:
    """The bundle in force, and a gate that says ``word``; ``at_this_moment`` is its word where it is read anew."""

    bundle: ActiveBundle | None
    word: str = "NORMAL"
    at_this_moment: str = "NORMAL"

    def current(self) -> ActiveBundle | None:
        return self.bundle

    @property
    def latest(self) -> ActiveBundle | None:
        return self.current()

    def mode(self, market: Market, view: MarketView, now: int, *, fresh: bool = False) -> str:
        return self.at_this_moment if fresh else self.word


class Desk:
    """``redis`` is a real one in the memory's place."""

    def __init__(
        self, bundle: ActiveBundle, clock: ManualClock | None = None, redis: RedisClient | None = None
    ) -> None:
        self.clock = clock = clock or ManualClock()
        self.redis = MemoryRedis(clock)
        self.store = MemoryStore()
        self.s4, self.hints, self.alerts = ToldS4(), NotedHints(), MemoryAlerts()
        store, always, metrics = cast(Any, self.store), Rules(bundle), MemoryMetrics()
        self.rules, self.metrics = always, metrics
        self.state = state = RedisState(redis or cast(RedisClient, self.redis), clock)
        self.recorder = recorder = Recorder(state, self.alerts, metrics)
        self.looks = Looks(self.hints, state, clock)
        self.rebuilder = Rebuilder(state, store, clock)
        self.results = Results(state, always, recorder, self.hints, clock, self.alerts, self.rebuilder.recover)
        self.batch = ResultsBatch(self.results, state, always, recorder)
        self.governor = Governor(state, always, always, recorder, self.hints, clock, self.alerts)
        self.reconciler = Reconciler(state, self.s4, self.results, recorder, clock, self.alerts)
        self.executor = Executor(state, self.s4, always, self.results, recorder, self.governor, clock)
        self.commands = OperatorCommands(self.governor, state, always, recorder, self.hints, clock, self.alerts)
        self.relay = OutboxRelay(state, store, self.alerts, clock, self.reconciler.doubt)
        self.cold_start = ColdStart(state, store, self.relay, self.reconciler, self.hints, self.alerts)
        self.sweep = Sweep(state, always, always, self.hints, metrics, clock, 10_000)

    def terms(self, market: Market = "FUT") -> str:
        """The terms of BTCUSDT in the bundle in force, as a position keeps them."""
        assert self.rules.bundle is not None
        held = Position("x", "BTCUSDT", market, "LONG")
        return in_force(held, self.rules.bundle).terms

    def put(self, position: Position, op: Operation | None = None, *, told: bool = True) -> Position:
        """A position as it stands, its orders in the books, with a snapshot: in the store as well if ``told``."""
        written = self.recorder.write(
            Change(position, op, self.clock.now_ms(), phase="AFTER", cause="put", orders=position.orders)
        )
        assert written is not None
        if told:
            self.relay.run()
        return written

    def now(self, position_id: str = "p1") -> Position:
        loaded = self.state.load(position_id)
        assert loaded is not None
        return loaded.position

    def op(self, position_id: str = "p1") -> Operation | None:
        loaded = self.state.load(position_id)
        return loaded.op if loaded is not None else None

    def write(self, position: Position, op: Operation | None = None) -> None:
        """Write without a snapshot."""
        assert self.state.commit(Commit(position, op)) is not None
