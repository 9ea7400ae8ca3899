"""``risk:*`` after many random lives: given back exactly once, whichever way a position closes and whoever dies."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.engine.commands import Busy, OperatorCommands
from s6.engine.executor import Executor
from s6.engine.governor import Governor
from s6.engine.outbox_relay import OutboxRelay
from s6.engine.recorder import Recorder
from s6.engine.results import Results
from s6.model import jsonx
from s6.model.bundle import ActiveBundle, parse_bundle
from s6.model.commit import Alert
from s6.model.market import Features, MarketView, Tick
from s6.model.operation import Operation
from s6.model.types import ZERO, Market, plain
from s6.model.wire import OrderResult
from s6.ports import StateUnavailable
from s6.store import open_store
from tests.support.doubles import ManualClock, MemoryAlerts, MemoryMetrics
from tests.support.small_exchange import Fields, Held, SmallExchange

LIVES = 200
AT_ONCE = 12
LEVERAGES = (1, 2, 4, 5, 8, 10, 20)  # so that every margin is a finite decimal
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def bundle() -> ActiveBundle:
    step: dict[str, object] = {"tick": "0.1", "step": "0.001", "min_qty": "0.001", "min_notional": "5", "mmr": "0.004"}
    lock = [{"roe": "0.05", "lock_roe": "0.02"}]
    document = {
        "version": "b-1",
        "fut": {
            "stop": {"fallback_pct": "0.03", "lock_steps": lock},
            "tp_ladder": [{"roe": "0.04", "fraction": "0.3"}, {"roe": "0.1", "fraction": "0.5"}],
            "add_on": {"roe_gate": "0.01", "cap": 3, "gamma": "0.5", "eta": "0.8", "signal_ttl_s": 600},
            "risk": {"lb_min": "0.06", "lb_exit": "0.02", "cooldown_s": 1, "max_reduces": 3},
        },
        "spot": {
            "guard": {"fallback_pct": "0.03", "lock_steps": lock},
            "tp_ladder": [{"roe": "0.02", "fraction": "0.5"}],
        },
        "symbols": dict.fromkeys(SYMBOLS, step),
        "execution": {"cancel_wait_ms": 500, "breach_grace_ms": 500},
    }
    return parse_bundle(jsonx.dumps(document))


class Forgetful(RedisState):
    """State whose relay of events and quota moves often breaks off: before it has begun, or its answer lost."""

    rng = Random(0)
    reliable = False

    def relay_events(self, position_id: str, tell: Callable[[Alert], object]) -> int:
        chance = 1.0 if self.reliable else self.rng.random()
        if chance < 0.1:
            raise StateUnavailable("the process died before it told")
        handed_on = super().relay_events(position_id, tell)
        if chance < 0.2:
            raise StateUnavailable("the process died after it told")
        return handed_on


@dataclass
class Queue:
    """Hints, carried out in the order in which they fall due."""

    clock: ManualClock
    core: Core = field(init=False)
    _waiting: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def post(self, act: Callable[[], None], delay_ms: int = 0) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (self.clock.now + delay_ms, self._count, act))

    def run(self, ms: int) -> None:
        """Whatever falls due within so much time."""
        until = self.clock.now + ms
        while self._waiting and self._waiting[0][0] <= until:
            due, _, act = heapq.heappop(self._waiting)
            self.clock.now = max(self.clock.now, due)
            try:
                act()
            except StateUnavailable:
                self.post(act, 50)
        self.clock.now = until

    def evaluate(self, position_id: str, *, delay_ms: int = 0) -> None:
        self.post(lambda: self.core.evaluate(position_id), delay_ms)

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        for position_id in position_ids:
            self.evaluate(position_id)

    def protect(self, position_id: str) -> None:
        self.evaluate(position_id)

    def execute(self, position_id: str, op: Operation) -> None:
        self.post(lambda: self.core.advance(position_id, op.op_id))

    resume = execute


class Open:
    """A gate that lets everything pass."""

    def mode(self, market: Market, view: MarketView, now: int, *, fresh: bool = False) -> str:
        return "NORMAL"


class Fixed:
    def __init__(self) -> None:
        self._bundle = bundle()

    def current(self) -> ActiveBundle:
        return self._bundle

    @property
    def latest(self) -> ActiveBundle:
        return self.current()


class Core:
    """The real core over a real Redis, an exchange in memory, and an entry side that books what entries take."""

    def __init__(self, redis: RedisClient, folder: Path, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.redis, self.clock = redis, ManualClock()
        self.state = Forgetful(redis, self.clock)
        self.state.rng = Random(seed + 1)
        self.queue = Queue(self.clock)
        self.queue.core = self
        self.exchange = SmallExchange(rng, self.publish, self.opened)
        self.alerts, bundles = MemoryAlerts(), Fixed()
        recorder = Recorder(self.state, self.alerts, MemoryMetrics())
        self.results = Results(self.state, bundles, recorder, self.queue, self.clock, self.alerts)
        self.governor = Governor(self.state, bundles, Open(), recorder, self.queue, self.clock, self.alerts)
        self.executor = Executor(
            self.state, self.exchange, bundles, self.results, recorder, self.governor, self.clock, rng
        )
        self.commands = OperatorCommands(
            self.governor, self.state, bundles, recorder, self.queue, self.clock, self.alerts
        )
        store = open_store(f"sqlite:///{folder}/s6.db")
        store.init()
        self.relay = OutboxRelay(self.state, store, self.alerts, self.clock)
        self._history: list[Fields] = []
        self._signals = 0

    # -- the world ---------------------------------------------------------------------------------------------

    def publish(self, fields: Fields) -> None:
        """Results come in order, at least once; now and then an old one comes again."""
        self._history.append(fields)
        again = [fields] * (self.rng.random() < 0.15)
        if self.rng.random() < 0.1:
            again.append(self.rng.choice(self._history[-30:]))
        for one in (fields, *again):
            self.queue.post(partial(self.apply, one))

    def apply(self, fields: Fields) -> None:
        while True:  # as the stream's consumer does: an entry that was not applied for sure comes once more
            try:
                self.results.apply(OrderResult.read(fields), fields)
                return
            except StateUnavailable:
                continue

    def opened(self, held: Held, first: bool, margin: Decimal) -> None:
        """The entry side's bookkeeping."""
        moves = [(keys.budget(held.market), margin)]
        if first:
            moves.append((keys.concurrency(held.market), Decimal(1)))
        for key, delta in moves:
            self.redis.set(key, plain(self.state.quota(key) + delta))

    def evaluate(self, position_id: str) -> None:
        outcome = self.governor.evaluate(position_id)
        for client_order_id in outcome.unconfirmed:
            result = self.exchange.query(client_order_id)
            assert result is not None

    def advance(self, position_id: str, op_id: str) -> None:
        progress = self.executor.advance(position_id, op_id)
        if progress.kind != "DONE":
            self.queue.post(lambda: self.advance(position_id, op_id), max(progress.wait_ms, 10))

    def move(self, symbol: str, mark: Decimal) -> None:
        self.exchange.now = self.clock.now
        self.exchange.move(symbol, mark)
        self.state.put_tick(symbol, Tick(self.clock.now, mark, mark, mark))
        for name in sorted(self.state.ids_of(symbol)):
            self.queue.evaluate(name)

    def signal(self, symbol: str) -> None:
        self._signals += 1
        now, side = self.clock.now, self.rng.choice(["LONG", "SHORT"])
        self.state.put_features(symbol, Features(now, ZERO, "NORMAL", side, f"s-{self._signals}", now))
        for name in sorted(self.state.ids_of(symbol)):
            self.queue.evaluate(name)

    def order(self, held: Held, word: str) -> None:
        try:
            self.commands.execute(held.position_id, held.symbol, held.market, word, "ann", "a test")
        except (Busy, StateUnavailable):
            return

    # -- what must hold ----------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everything done that is on its way, whoever died over it."""
        self.queue.run(20_000)
        self.state.reliable = True
        for position_id in sorted(self.state.open_ids()):
            self.queue.evaluate(position_id)
        self.queue.run(20_000)
        self.relay.run()
        self.state.reliable = False

    def agrees(self) -> None:
        for market in ("FUT", "SPOT"):
            held = [h for h in self.exchange.positions.values() if h.market == market and h.qty]
            assert self.state.quota(keys.concurrency(market)) == len(held), market
            assert self.state.quota(keys.budget(market)) == sum((h.taken for h in held), ZERO), market


Way = Literal["market", "hand", "operator", "partial", "entry", "signal", "pause"]
WAYS: tuple[Way, ...] = ("market",) * 6 + (
    "hand",
    "operator",
    "partial",
    "partial",
    "entry",
    "signal",
    "signal",
    "pause",
)


def act(core: Core, held: Held) -> None:
    """Something happens to a position, or to its market."""
    rng, mark = core.rng, core.exchange.marks[held.symbol]
    qty = Decimal(rng.randint(1, 40)) / 1000
    match rng.choice(WAYS):
        case "market":
            core.move(held.symbol, (mark * Decimal(rng.randint(970, 1032)) / 1000).quantize(Decimal("0.1")))
        case "hand":
            core.exchange.close_by_hand(held, held.qty)
        case "operator":
            core.order(held, "EXIT")
        case "partial":
            core.exchange.close_by_hand(held, min(qty, held.qty), rng.choice(["EXIT", "REDUCE", "TP"]))
        case "entry":
            core.exchange.enter(held, qty)
        case "signal":
            core.signal(held.symbol)
        case "pause":
            core.order(held, rng.choice(["PAUSE", "RESUME"]))
    core.queue.run(rng.choice([20, 300, 1_500]))


def begin(core: Core, number: int) -> Held:
    rng = core.rng
    market: Market = rng.choice(["FUT", "FUT", "SPOT"])
    side: Literal["LONG", "SHORT"] = "LONG" if market == "SPOT" else rng.choice(["LONG", "SHORT"])
    leverage = Decimal(rng.choice(LEVERAGES) if market == "FUT" else 1)
    held = Held(f"p-{number}", rng.choice(SYMBOLS), market, side, leverage)
    core.exchange.enter(held, Decimal(rng.randint(20, 200)) / 1000)
    core.queue.run(50)
    return held


@pytest.mark.parametrize("seed", [1, 2])
def test_quotas_are_exact_after_random_lives(redis_client: RedisClient, tmp_path: Path, seed: int) -> None:
    """Half of the lives for each seed."""
    core = Core(redis_client, tmp_path, seed)
    for symbol in SYMBOLS:
        core.move(symbol, Decimal(1000))
    living: list[Held] = []
    for number in range(LIVES // 2):
        living.append(begin(core, number))
        while len(living) > AT_ONCE:
            act(core, core.rng.choice(living))
            living = [held for held in living if held.qty]
        if number % 20 == 19:
            core.settle()
            core.agrees()
            living = next_lives(core)
    for held in living:
        core.exchange.close_by_hand(held, held.qty)
    core.settle()
    core.agrees()
    assert [core.state.quota(f"risk:{name}") for name in ("budget:FUT", "budget:SPOT")] == [0, 0]
    closed = [core.state.load(held.position_id) for held in core.exchange.positions.values()]
    assert all(loaded is not None and loaded.position.status == "CLOSED" for loaded in closed)
    assert core.alerts.letters == []


def next_lives(core: Core) -> list[Held]:
    """Some that are closed for good are entered again under their old id; who lives then."""
    closed = [held for held in core.exchange.positions.values() if not held.qty]
    for held in core.rng.sample(closed, min(3, len(closed))):
        core.exchange.enter(held, Decimal("0.05"))
    core.queue.run(50)
    return [held for held in core.exchange.positions.values() if held.qty]


def test_an_add_that_fills_after_the_close_is_counted_and_given_back(redis_client: RedisClient, tmp_path: Path) -> None:
    core = Core(redis_client, tmp_path, 1)
    core.move("BTCUSDT", Decimal(1000))
    held, other = (Held(name, "BTCUSDT", "FUT", "LONG", Decimal(5)) for name in ("p-1", "p-2"))
    for position in (held, other):
        core.exchange.enter(position, Decimal("0.1"))
    core.queue.run(1_000)
    core.exchange.close_by_hand(held, held.qty)
    core.exchange.close_by_hand(held, Decimal("0.05"), "ADD")  # on its way when the close came
    core.queue.run(0)
    core.settle()
    assert held.qty == 0
    core.agrees()
    assert core.state.quota(keys.concurrency("FUT")) == 1
