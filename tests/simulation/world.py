"""One simulated world: S6's real parts put together over simulated ones, and everybody who acts on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, Final, cast

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.adapters.rests import Rests
from s6.adapters.s1 import S1Wallets
from s6.adapters.s4 import S4Orders
from s6.adapters.s12 import S12Approvals
from s6.bootstrap import Services
from s6.engine.commands import Busy, Mismatch, NotFound, OperatorCommands
from s6.engine.executor import Executor
from s6.engine.governor import Governor
from s6.engine.looks import Looks
from s6.engine.outbox_relay import OutboxRelay
from s6.engine.recorder import Recorder
from s6.engine.results import Applied, Results
from s6.engine.results_batch import PASSING, ResultsBatch, Told
from s6.engine.sweep import Sweep
from s6.listener.index import TriggerIndex
from s6.listener.market_reader import FeatureReader, MarketReader
from s6.listener.reconciliation import Reconciliation
from s6.listener.results_consumer import ResultsConsumer
from s6.listener.sequencer import Delivered
from s6.listener.streams import Entry
from s6.listener.watch import IndexKeeper, RestWatch
from s6.model.types import plain
from s6.ports import StateUnavailable
from s6.recovery.cold_start import ColdStart
from s6.recovery.rebuilder import Rebuilder
from s6.recovery.reconciler import Reconciler
from s6.rules.exact import exactly
from s6.store import StoreError
from s6.treasury import Refusal, Treasury
from tests.doubles.memory_redis import MemoryPipe, MemoryRedis
from tests.simulation.exchange import Exchange
from tests.simulation.faults import Faults, SimNeighbour
from tests.simulation.kernel import Kernel, SimClock
from tests.simulation.ledger import STEP, XPosition
from tests.simulation.memory_store import MemoryStore
from tests.simulation.parts import BUNDLES, SimAlerts, SimBundles, SimGate, SimHints, SimMetrics
from tests.simulation.profile import Profile
from tests.simulation.wallets import SimApprovers, SimWallets

SYMBOL: Final = "BTCUSDT"
CLOSED_KEEP_MS: Final = 3_000
#: Within this time S6 notices that another Redis has taken over.
NOTICED_MS: Final = 1_000
Task = Callable[[], object]


class World:
    """Who acts when is laid out in ``scenario.py``; here is who there is."""

    def __init__(self, rng: Random, profile: Profile) -> None:
        self.kernel = kernel = Kernel(rng)
        self.rng, self.profile = rng, profile
        self.faults = faults = Faults(kernel, profile)
        kernel.held_up = faults.disturb
        self.redis = MemoryRedis(kernel, faults.redis)
        self.store = MemoryStore(faults.store)
        self.alerts = SimAlerts(kernel)
        self.clock = SimClock(kernel, profile.skew)
        self.bundles = SimBundles(BUNDLES[rng.choice([0, 0, 0, 1, 2, 3]) if profile.bundle is None else profile.bundle])
        self.hints = SimHints(kernel, faults)
        self.exchange = Exchange(kernel, faults, self.publish, self.entered)
        self.wallets = SimWallets(kernel)
        self.approvers = SimApprovers(kernel)
        self.mark = Decimal(1000)
        self.waiting: dict[int, str] = {}
        self.heard: dict[str, int] = {}
        self.tainted: set[str] = set()
        self._newest: dict[str, int] = {}
        self._opening_due: dict[str, int] = {}
        self.wiped = self.failed_over = False
        self.failed_over_ts = 0
        self.priceless: set[str] = set()
        self.unheard_of: set[str] = set()
        self.took: list[tuple[int, str, Decimal]] = []
        self.signals: dict[str, int] = {}
        self.written_off: set[str] = set()
        self.owed: Callable[[tuple[str, str, str]], None] = lambda alert: None
        self._number = 0
        self.services = self._built()
        self.hints.services = self.services
        self.listener = Listener(self)
        self.redis.published = self._changed

    def _built(self) -> Services:
        kernel, faults, clock = self.kernel, self.faults, self.clock
        s4 = SimNeighbour("s4", kernel, faults, self._s4)
        s1 = SimNeighbour("s1", kernel, faults, self.wallets.handle)
        s12 = SimNeighbour("s12", kernel, faults, self.approvers.handle)
        bundles, alerts, metrics = self.bundles, self.alerts, SimMetrics()
        gate = SimGate(faults, alerts, bundles)
        state = RedisState(cast(RedisClient, self.redis), clock)
        state._is_cluster = faults.profile.cluster
        hints = Looks(self.hints, state, clock)
        reader = Reader(clock, bundles)
        rests = Rests(cast(RedisClient, self.redis), alerts)
        orders = S4Orders(cast(Any, s4), reader, alerts, rests)
        recorder = Recorder(state, alerts, metrics)
        recover = Rebuilder(state, cast(Any, self.store), clock).recover
        results = Results(state, bundles, recorder, hints, clock, alerts, recover, orders)
        governor = Governor(state, bundles, gate, recorder, hints, clock, alerts)
        reconciler = Reconciler(state, orders, results, recorder, clock, alerts)
        relay = OutboxRelay(state, cast(Any, self.store), alerts, clock, reconciler.doubt)
        parts: dict[str, Any] = {
            "settings": SimpleNamespace(manage_tick_s=10),
            "clock": clock,
            "reader": reader,
            "redis": self.redis,
            "state": state,
            "store": self.store,
            "bundles": bundles,
            "breaker": None,
            "gate": gate,
            "alerts": alerts,
            "metrics": metrics,
            "hints": hints,
            "s1_market": None,
            "orders": orders,
            "results": results,
            "results_batch": ResultsBatch(results, state, bundles, recorder),
            "governor": governor,
            "executor": Executor(state, orders, bundles, results, recorder, governor, clock, self.rng),
            "commands": OperatorCommands(governor, state, bundles, recorder, hints, clock, cast(Any, alerts)),
            "reconciler": reconciler,
            "cold_start": ColdStart(state, cast(Any, self.store), relay, reconciler, hints, alerts, CLOSED_KEEP_MS),
            "sweep": Sweep(state, bundles, gate, hints, metrics, clock, 10_000, CLOSED_KEEP_MS),
            "relay": relay,
            "treasury": Treasury(
                store=self.store,
                state=state,
                wallets=S1Wallets(cast(Any, s1), reader, rests),
                approvals=S12Approvals(cast(Any, s12)),
                bundles=bundles,
                alerts=alerts,
                metrics=metrics,
                clock=clock,
                hints=self.hints,
                approval_ttl_ms=20_000,
                sleep=lambda seconds: kernel.wait(int(seconds * 1000)),
                rng=self.rng,
            ),
            "health": None,
        }
        return Services(**parts)

    def _s4(self, method: str, path: str, body: Mapping[str, object], text: str) -> tuple[int, dict[str, object]]:
        if method == "GET":
            name = path.rsplit("/", 1)[1]
            order = self.exchange.orders.get(name)
            if order is not None:
                self._taint(order.position_id)
            return self.exchange.find(name)
        if path != "/orders":
            return self.exchange.cancel(body)
        if self.exchange.spells.on("INGRESS", self.kernel.now):
            self.faults.disturb(2_500)
            return self.rng.choice([403, 404]), {"detail": "no such route"}
        return self.exchange.place(body, text)

    # -- the entry side ----------------------------------------------------------------------------------------

    def entered(self, position: XPosition, margin: Decimal, born: bool) -> None:
        """The entry side books what it has in use."""
        self.took.append((self.kernel.now, position.market, margin))
        if born:
            self._count(keys.concurrency(position.market), Decimal(1))
        self._count(keys.budget(position.market), margin)

    def _count(self, key: str, delta: Decimal) -> None:
        with exactly():
            self.redis.do_set(key, plain(Decimal(self.redis.do_get(key) or "0") + delta))

    def enter(self, position: XPosition, qty: Decimal, parts: int) -> None:
        """A new ENTRY; none while S6 says that it isn't ready, which it does until what Redis lost is back."""
        if self.wiped and not self.redis.do_exists(keys.RECONCILED):
            return
        self._number += 1
        name = f"entry-{position.position_id}-{self._number}"
        self.kernel.note(f"the entry side: {position.side} {plain(qty)} for {position.position_id}")
        self.exchange.enter(position, name, qty, parts, self.rng.choice([20, 400]))

    def unnoticed(self) -> bool:
        """Whether a replica has just taken over and S6 cannot know it yet: it acts on the replica's state.

        What the replica books may be lost then; S4 must be able to tell of it by its id.
        """
        since = self.failed_over_ts
        if since and 0 < self.listener.up_at - since <= 2 * NOTICED_MS:  # who was about to notice died over it
            since = max(self.listener.up_at, since + keys.RECONCILE_LOCK.ttl_ms)
        return since > 0 and self.kernel.now - since <= NOTICED_MS

    def close_by_hand(self, position_id: str, share: Decimal) -> None:
        position = self.exchange.positions.get(position_id)
        if position is None or not position.qty:
            return
        with exactly():
            qty = position.qty * share
        qty = qty // STEP * STEP if share != 1 else position.qty
        if qty:
            self._number += 1
            self.kernel.note(f"somebody closes {plain(qty)} of {position_id} by hand")
            name = f"manual-{position_id}-{self._number}"
            if not self.faults.profile.foreign:
                self.exchange.close_by_hand(position, name, qty)
                return
            wire_id = self.rng.choice([None, "", "adl_autoclose", "adl_autoclose"])
            if self.unnoticed():
                wire_id = None
            self.exchange.close_by_hand(position, name, qty, wire_id, str(self._number))

    # -- streams -----------------------------------------------------------------------------------------------

    def publish(self, fields: dict[str, str]) -> None:
        """An entry of ``ord:result:*``, handed to the consumer group."""
        profile, rng = self.faults.profile, self.rng
        for _ in range(1 + (rng.random() < profile.double_result)):
            self._number += 1
            self.waiting[self._number] = fields["position_id"]
            delay = rng.randint(1, 5)
            if rng.random() < profile.late_result:
                delay = rng.choice([30, 300, 3_000])
            delay = max(delay, self.faults.deaf.get(fields["client_order_id"], 0) - self.kernel.now)
            delay = self._behind_openings(fields, delay)
            self._offer(Entry(f"ord:result:{fields['symbol']}", str(self._number), fields), delay, 1)

    def _behind_openings(self, fields: Mapping[str, str], delay: int) -> int:
        """No close overtakes an opening fill that it may have closed: nobody could tell what it closed."""
        name, due = fields["position_id"], self.kernel.now + delay
        due = max(due, self._opening_due.get(name, 0) + 1)
        if fields["kind"] in ("ENTRY", "ADD"):
            self._opening_due[name] = due
        return due - self.kernel.now

    def _offer(self, entry: Entry, delay: int, deliveries: int) -> None:
        if delay > 20:
            self.faults.disturb(delay)
        act = partial(self._deliver, entry, deliveries)
        died = partial(self._died, [Delivered(entry, deliveries)])
        self.kernel.at(delay, "", act, "listener", died)

    def _deliver(self, entry: Entry, deliveries: int) -> None:
        kernel, listener = self.kernel, self.listener
        if int(entry.entry_id) not in self.waiting:
            return
        if kernel.now < listener.up_at:
            self._offer(entry, listener.up_at - kernel.now, deliveries)
            return
        copies = self.faults.profile.copies
        if (listener.busy or listener.unhandled) and not copies:
            listener.unhandled.append(Delivered(entry, deliveries))
        elif self.rng.random() < self.faults.profile.gather:  # it reads a little later, and more at once
            listener.unhandled.append(Delivered(entry, deliveries))
            self._soon(listener, self.rng.randint(1, 15))
        else:
            self._handle(listener, [Delivered(entry, deliveries)])

    def _soon(self, listener: Listener, delay_ms: int) -> None:
        """Have the consumer take up what it has read and not handled, in its order."""
        batch: list[Delivered] = []

        def go_on() -> None:
            if listener is self.listener and not listener.busy:
                batch.extend(each for each in listener.unhandled if int(each.entry.entry_id) in self.waiting)
                listener.unhandled.clear()
                self._handle(listener, batch)

        self.kernel.at(delay_ms, "", go_on, "listener", partial(self._died, batch))

    def _handle(self, listener: Listener, batch: list[Delivered]) -> None:
        kernel = self.kernel
        for entry, _ in batch:
            f = entry.fields
            self._in_order(int(entry.entry_id))
            said = f"{f['client_order_id']} {f['status']} {f['filled_qty']}/{f['qty']} {f.get('reason', '')}"
            kernel.note(f"result {said}")
        listener.busy += 1
        try:
            listener.results._handle(batch)
        except (RedisError, StateUnavailable) as error:
            kernel.note(f"    not applied: {error}")
            listener.unhandled.extendleft(reversed(batch))
            if listener is not self.listener:
                self._claimed(listener)
            self._soon(listener, 200)
            return
        finally:
            listener.busy -= 1
        again = self.rng.randint(2_000, 3_000)
        for number, (entry, deliveries) in enumerate(batch):
            if int(entry.entry_id) in self.waiting:
                self._offer(entry, again + number, deliveries + 1)
        if listener is not self.listener:  # it died meanwhile, elsewhere
            self._claimed(listener)
        if listener.unhandled and not listener.busy:
            self._soon(listener, 1)

    def _died(self, batch: list[Delivered]) -> None:
        self.listener_died()
        again = self.rng.randint(2_000, 3_000)
        for number, (entry, deliveries) in enumerate(batch):
            self._offer(entry, again + number, deliveries + 1)

    def _taint(self, position_id: str) -> None:
        """Asked about an order while results wait: they will come in another order than they happened."""
        if position_id in self.waiting.values():
            self.tainted.add(position_id)

    def pipeline(self, transaction: bool) -> MemoryPipe:
        return MemoryPipe(cast(Any, self))

    def xack(self, stream: str, group: str, *entry_ids: str) -> None:
        """The consumer group's acknowledgement."""
        for number in map(int, entry_ids):
            if number in self.waiting:
                self._in_order(number)
                self.heard[self.waiting.pop(number)] = self.kernel.now

    def _in_order(self, entry_id: int) -> None:
        """A result is taken up, or acknowledged. What a dead or a slow consumer read comes after what was told
        later."""
        position_id = self.waiting[entry_id]
        if entry_id < self._newest.get(position_id, 0):
            self.tainted.add(position_id)
        self._newest[position_id] = max(self._newest.get(position_id, 0), entry_id)

    def listener_died(self) -> None:
        """Another one is started soon; it knows nothing of what the first one knew."""
        down = self.rng.choice([100, 1_000])
        self.faults.disturb(down)
        former, self.listener = self.listener, Listener(self, self.kernel.now + down)
        self._claimed(former)

    def _claimed(self, former: Listener) -> None:
        """What a dead consumer had read and not acknowledged is claimed by the next one, after a while."""
        while former.unhandled:
            entry, deliveries = former.unhandled.popleft()
            self._offer(entry, self.rng.randint(2_000, 3_000), deliveries + 1)

    def as_listener(self, label: str, act: Task, delay_ms: int = 0) -> None:
        """Have the listener do something, unless it is down then."""

        def run() -> None:
            if self.kernel.now >= self.listener.up_at:
                try:
                    act()
                except (RedisError, StateUnavailable, StoreError) as error:
                    self.kernel.note(f"    {error}")

        self.kernel.at(delay_ms, label, run, "listener", self.listener_died)

    def as_worker(self, label: str, act: Task, delay_ms: int = 0) -> None:
        """A task of beat's, or a request to the web process: what fails is simply not done."""

        def run() -> None:
            try:
                act()
            except (RedisError, StateUnavailable, StoreError, Refusal, NotFound, Busy, Mismatch) as error:
                self.kernel.note(f"    {type(error).__name__}: {error}")

        self.kernel.at(delay_ms, label, run, "worker")

    def _changed(self, channel: str, text: str) -> None:
        name = text.partition(" ")[2]
        self.as_listener("", lambda: self.listener.keeper._put([name]), self.rng.randint(1, 30))

    def tick(self, mark: Decimal) -> None:
        """The market moves; the exchange knows at once, S6 a little later, if at all."""
        self.mark = mark
        self.exchange.tick(SYMBOL, mark)
        profile, rng = self.faults.profile, self.rng
        if self.faults.is_down("feed") or rng.random() < profile.lose_tick:
            return
        fields = {"ts": str(self.kernel.now), "mark": str(mark), "bid": str(mark), "ask": str(mark)}
        delay = rng.choice([50, 700]) if rng.random() < profile.late_tick else rng.randint(1, 10)
        self.as_listener("", partial(self._take, Entry(f"mkt:{SYMBOL}", "0-0", fields)), delay)

    def _take(self, entry: Entry) -> None:
        """A listener reads ticks one after the other."""
        listener = self.listener
        listener.ticks.append(entry)
        if listener.reads_tick:
            return
        listener.reads_tick = True
        try:
            while listener.ticks:
                listener.market.take(SYMBOL, [listener.ticks.popleft()])
        finally:
            listener.reads_tick = False

    def features(self, fields: dict[str, str]) -> None:
        fields = {"ts": str(self.kernel.now), **fields}
        if "signal_id" in fields:
            self.signals[fields["signal_id"]] = int(fields["ts"])
        entry = Entry(f"feat:events:{SYMBOL}", "0-0", fields)
        self.as_listener(f"features {fields}", lambda: self.listener.features.take(SYMBOL, [entry]))


class _Watched:
    """Results whose failures are seen: the consumer would put what it can't apply among the dead letters."""

    def __init__(self, world: World) -> None:
        self._world = world

    def apply(self, told: Sequence[Told]) -> list[Applied | Exception]:
        world = self._world
        outcomes = world.services.results_batch.apply(told)
        for (result, raw), outcome in zip(told, outcomes, strict=True):
            if outcome == "APPLIED" and "owed" in raw:
                world.owed(("WARN", raw["owed"], result.position_id))
            if isinstance(outcome, Exception) and not isinstance(outcome, PASSING):
                world.kernel.broken = world.kernel.broken or outcome
        return outcomes


class Listener:
    """The listener process: everything it keeps in memory dies with it."""

    def __init__(self, world: World, up_at: int = 0) -> None:
        services, nobody = world.services, cast(Any, None)
        state, hints, bundles, alerts = services.state, services.hints, world.bundles, world.alerts
        self.up_at = up_at
        reader = services.reader
        self.busy = 0
        self.reads_tick = False
        self.ticks: deque[Entry] = deque()
        self.unhandled: deque[Delivered] = deque()
        self.index = TriggerIndex()
        self.keeper = IndexKeeper(nobody, state, bundles, self.index, hints)
        self.market = MarketReader(nobody, state, self.index, hints, bundles, alerts, world.clock, reader)
        self.features = FeatureReader(nobody, state, services.sweep, bundles, alerts, reader)
        self.results = ResultsConsumer(
            cast(Any, world), "c", cast(ResultsBatch, _Watched(world)), bundles, alerts, reader
        )
        self.rest = RestWatch(state, hints, world.clock, self.index)
        self.reconciliation = Reconciliation(services)
