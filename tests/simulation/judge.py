"""The independent judge: what the exchange, the wallets and the store show is held against CONTRACT §9 after each step.

Where nothing has gone wrong it is strict to the second; where something has, it allows what the contract allows: an
outage is waited out, a death costs at most one sweep.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast

from s6 import keys
from s6.model.codec import from_fields
from s6.model.position import Position
from s6.model.types import TERMINAL, ZERO
from s6.rules.exact import exactly
from tests.doubles.memory_redis import Written
from tests.simulation.alarming import alarming
from tests.simulation.conduct import Conduct
from tests.simulation.ledger import MIN_NOTIONAL, XOrder, XPosition
from tests.simulation.limits import Limits

if TYPE_CHECKING:
    from tests.simulation.world import World

PROMPT_MS: Final = 1_000
LOOK_MS: Final = 50
ONE_SWEEP_MS: Final = 12_500
LEFTOVER_MS: Final = 5_000
RACE_MS: Final = 1_000
CAP: Final = 2
ETA: Final = Decimal("0.8")
ROUNDING: Final = Decimal("1e-20")
CLOSING: Final = ("TP", "REDUCE", "EXIT", "GUARD")
IN_FLIGHT: Final = ("PENDING", "APPROVED")


class Violation(AssertionError):
    """Something that must not be."""


class Judge:
    def __init__(self, world: World) -> None:
        self._world, self._kernel, self._exchange = world, world.kernel, world.exchange
        self._naked: dict[str, int] = {}
        self._doubled: dict[str, int] = {}
        self._intents: dict[str, str] = {}
        self._written: dict[str, int] = {}
        self._records: dict[str, dict[str, object]] = {}
        self._signals: set[tuple[str, str]] = set()
        self._stops: dict[tuple[str, int, str], list[XOrder]] = defaultdict(list)
        self._levels: dict[str, str] = {}
        self._limits = Limits(world)
        self._looked_at_transfers: set[str] = set()
        self.events: dict[str, dict[str, str]] = {}
        self.longest_gap = 0
        self._seen, self._look_again = -1, 0
        world.redis.appended = self._event
        self._owed: Counter[tuple[str, str, str]] = Counter()
        world.redis.committed = self._committed
        self._conduct = Conduct(world, self._late, self._owed)
        world.exchange.on_asked = self._conduct.asked

    # -- after each step ---------------------------------------------------------------------------------------

    def look(self) -> None:
        """Judge what stands at the exchange: whenever that has changed, and as time goes by."""
        exchange, now = self._exchange, self._kernel.now
        if exchange.changes == self._seen and now < self._look_again:
            return
        self._seen, self._look_again = exchange.changes, now + LOOK_MS
        self._conduct.looked()
        live: dict[str, list[XOrder]] = defaultdict(list)
        for order in self._exchange.orders.values():
            if order.live:
                live[order.position_id].append(order)
        for name, position in self._exchange.positions.items():
            if position.qty:
                self._protected(position, live[name])
            else:
                self._naked.pop(name, None)
                self._nothing_left(position, live[name])
            self._one_stop(name, live[name])
        self._transfers()

    def _late(self, since: int, prompt_ms: int) -> bool:
        """Whether what should have been done since then is overdue."""
        now, disturbed = self._kernel.now, self._world.faults.disturbed
        if disturbed + ONE_SWEEP_MS >= since:
            return now > max(since + prompt_ms, disturbed + ONE_SWEEP_MS)
        return now > since + prompt_ms

    def _protected(self, position: XPosition, live: list[XOrder]) -> None:
        """§9.1: a live reduceOnly stop for the whole quantity; orders that close it all at market will do as well."""
        name, now = position.position_id, self._kernel.now
        if position.market != "FUT":
            return
        need = position.qty
        stops = [o for o in live if o.kind == "SL" and o.reduce_only and o.side == position.closing_side]
        closing = sum((o.remaining for o in live if not o.opens and o.type == "MARKET"), ZERO)
        covered = any(o.remaining >= need for o in stops) or closing >= need
        if covered or self._guarded(position) or self._conduct.ungovernable(position):
            since = self._naked.pop(name, now)
            self.longest_gap = max(self.longest_gap, now - since)
            return
        since = self._naked.setdefault(name, now)
        if self._late(since, PROMPT_MS):
            raise Violation(f"{name} holds {need} without a stop for it since {since - self._start()}")

    def _guarded(self, position: XPosition) -> bool:
        """Whether S6 guards what is too small for S4 at the stop's price, and the mark has not reached the guard."""
        ours = self._position(position.position_id)
        if ours is None or not ours.self_guarded or ours.sl_price is None:
            return False
        with exactly():
            too_small = position.qty * ours.sl_price < MIN_NOTIONAL
        return too_small and (self._world.mark - ours.sl_price) * position.dir > 0

    def _start(self) -> int:
        from tests.simulation.kernel import START_MS

        return START_MS

    def _nothing_left(self, position: XPosition, live: list[XOrder]) -> None:
        for order in live:
            since = max(position.closed_ts, order.ts)
            if order.ours and self._late(since, LEFTOVER_MS) and not self._lost_track(position.position_id):
                raise Violation(f"{order.client_order_id} lives on after {position.position_id} was closed")

    def _one_stop(self, name: str, live: list[XOrder]) -> None:
        stops = [o.client_order_id for o in live if o.kind == "SL"]
        if len(stops) < 2:
            self._doubled.pop(name, None)
        elif self._late(self._doubled.setdefault(name, self._kernel.now), PROMPT_MS):
            raise Violation(f"{name} has two live stops: {stops}")

    def _transfers(self) -> None:
        wallets, records = self._world.wallets, self._world.store.moved
        for name in wallets.moved.keys() - self._looked_at_transfers:
            self._looked_at_transfers.add(name)
            record = records.get(name)
            if record is None or record["decision"] == "REJECTED":
                raise Violation(f"transfer {name} was made but not allowed: {record}")
        self._limits.transfers()
        flying = [name for name, record in records.items() if record["status"] in IN_FLIGHT]
        if len(flying) > 1:
            raise Violation(f"transfers in flight together: {flying}")

    # -- as orders come ----------------------------------------------------------------------------------------

    def accepted(self, order: XOrder) -> None:
        """S4 has just taken an order of S6's."""
        name = order.client_order_id
        if self._intents.setdefault(order.intent_id, name) != name:
            raise Violation(f"{name} shares the intent {order.intent_id} with {self._intents[order.intent_id]}")
        position = self._exchange.positions[order.position_id]
        self._limits.arrived(order, self._record(order))
        if order.kind == "SL":
            self._stop(order, position)
        elif order.kind in CLOSING:
            self._closing(order, position)
        elif order.kind == "ADD":
            self._signal(order)
        if order.kind == "TP":
            self._rungs(order)
        if order.kind != "SL":
            self._limits.accepted(order, position, self._record(order))
            self._conduct.accepted(order, position, self._record(order))
        if order.market == "FUT" and order.kind != "ADD" and not order.reduce_only:
            raise Violation(f"{name} is not reduceOnly")

    def _stop(self, order: XOrder, position: XPosition) -> None:
        # Where a death let a close overtake the opening fill it closed, S6 has begun a life more than the exchange has.
        stops = self._stops[order.position_id, order.life, str(self._record(order)["life"])]
        earlier = [o for o in stops if o.status != "REJECTED"]
        beside = [o.client_order_id for o in earlier if o.live]
        if beside and not self._world.unnoticed():
            raise Violation(f"{order.client_order_id} was placed beside {beside}")
        assert order.stop_px is not None
        for one in earlier:
            assert one.stop_px is not None
            if (
                one.client_order_id in self._world.priceless | self._world.unheard_of
            ):  # S4 doesn't tell at which price a stop rests
                continue
            if (order.stop_px - one.stop_px) * position.dir < 0:
                raise Violation(f"{order.client_order_id} at {order.stop_px} is looser than {one.stop_px} was")
        if order.qty > position.most_held_since(self._race()) and not self._may_not_know(order):
            raise Violation(f"{order.client_order_id} is for {order.qty}, more than was held")
        self._moved(order, stops, position)
        stops.append(order)

    def _moved(self, order: XOrder, stops: list[XOrder], position: XPosition) -> None:
        """Hold it against the stop that was cancelled for it."""
        op = self._world.redis.do_hgetall(keys.operation(order.position_id))
        self._levels[order.client_order_id] = op.get("level", "")
        if stops and op.get("target") == stops[-1].client_order_id and stops[-1].status == "CANCELED":
            levels = self._levels[stops[-1].client_order_id], op["level"]
            self._limits.moved(order, stops[-1], position, levels)

    def _race(self) -> int:
        """Since when what was held may be what S6 still believes is held."""
        now, disturbed = self._kernel.now, self._world.faults.disturbed
        return 0 if disturbed + ONE_SWEEP_MS >= now else now - RACE_MS

    def _may_not_know(self, order: XOrder) -> bool:
        """Whether results were under way, when the order was written down, that the books couldn't know, or the books
        have said that they lost track."""
        name, world = order.position_id, self._world
        unheard = name in world.waiting.values() or world.heard.get(name, 0) >= self._written[order.client_order_id]
        return unheard or self._lost_track(name)

    def _closing(self, order: XOrder, position: XPosition) -> None:
        live = self._exchange.live_orders(order.position_id)
        at_work = [o for o in live if o.ours and o.kind in CLOSING and o.client_order_id not in self._limits.late]
        total = sum((o.remaining for o in at_work), ZERO)
        if total > position.most_held_since(self._race()) and not self._may_not_know(order):
            raise Violation(f"closing orders for {total}, more than was held: {[o.client_order_id for o in at_work]}")

    def _record(self, order: XOrder) -> dict[str, object]:
        """As the books had it when it was sent; they forget the orders of lives that have left Redis."""
        if order.client_order_id not in self._records:
            text = self._world.redis.do_hget(keys.orders(order.position_id), order.client_order_id)
            if text is None:
                raise Violation(f"{order.client_order_id} was sent before it was written down")
            self._records[order.client_order_id] = json.loads(text)
        return self._records[order.client_order_id]

    def _signal(self, order: XOrder) -> None:
        signal = (order.position_id, str(self._record(order)["signal_id"]))
        if signal in self._signals:
            raise Violation(f"{order.client_order_id}: a second add for {signal}")
        self._signals.add(signal)

    def _rungs(self, order: XOrder) -> None:
        """No second order for a rung, unless the first one came to nothing. ``Conduct`` judges ladders that change."""
        if self._world.profile.terms == "LADDER":
            return
        mine = set(json.loads(str(self._record(order)["rungs"])))
        for other in self._exchange.orders.values():
            if other.position_id != order.position_id or other.kind != "TP" or other is order:
                continue
            same = self._record(other)["life"] == self._record(order)["life"]
            if same and (other.live or other.filled):
                both = mine & set(json.loads(str(self._record(other)["rungs"])))
                if both:
                    raise Violation(f"{order.client_order_id} is for rungs {both} that {other.client_order_id} took")

    def _event(self, stream: str, fields: dict[str, str]) -> None:
        known = self.events.setdefault(fields["event_id"], fields)
        if self._world.wiped:  # told once more by those who have lost that they told it, of a moment that was another
            same = ["ts", "price", "reason", "data"]
            if fields["type"] == "STOP_MOVE" or self._world.failed_over:
                same.append("qty")  # what was told in parts before the failover was noticed is then told at once
            fields = {**fields, **{name: known[name] for name in same}}
        if known != fields:
            raise Violation(f"two events bear one id: {known} {fields}")

    def _committed(self, before: Written, after: Written) -> None:
        """What a position has just come to shows what people must be told, whatever becomes of who wrote it."""
        self._conduct.committed(before, after)
        if after.op.get("order"):  # from here on it is sent as it stands
            self._written.setdefault(after.op["client_order_id"], self._kernel.now)
        if before.state and before.state["rebuilt_ts"] == after.state["rebuilt_ts"]:  # a rebuild was told of before
            name = after.state["position_id"]
            owed = (*alarming(before, after), *self._conduct.failing(before.op, after))
            self._owed.update((severity, code, name) for severity, code in owed)

    def _people_know(self) -> None:
        missing = self._owed - Counter(self._world.alerts.told)
        if missing:
            raise Violation(f"people were never told: {dict(missing)}")

    # -- at rest -----------------------------------------------------------------------------------------------

    def at_rest(self) -> None:
        """Calm for longer than a sweep: every position is in order, its books equal to the exchange's own."""
        self._no_work_left()
        self._people_know()
        for name, theirs in self._exchange.positions.items():
            if self._lost_track(name):
                continue
            ours = self._position(name)
            if ours is None:
                raise Violation(f"{name} is not known")
            if ours.qty != theirs.qty:
                raise Violation(f"{name}: {ours.qty} in the books, {theirs.qty} at the exchange")
            priced = name not in self._world.exchange.unpriced
            if theirs.qty and priced and name not in self._world.tainted:
                self._same(name, "entry price", ours.entry_price_avg, theirs.entry)
                self._same(name, "realized PnL", ours.realized_pnl_usdt, theirs.realized)
            if theirs.qty and not self._world.wiped:
                self._counted(name, ours, theirs)
            if name in self._limits.late_adds:
                continue
            if theirs.adds > CAP:
                raise Violation(f"{name}: {theirs.adds} adds")
            with exactly():
                if theirs.q0 and not theirs.by_add and theirs.added > ETA * theirs.q0:
                    raise Violation(f"{name}: {theirs.added} added to {theirs.q0}")
        self._history()
        self._in_use()

    def _counted(self, name: str, ours: Position, theirs: XPosition) -> None:
        """How often this life was reduced and added to."""
        mine = [o for o in self._exchange.orders.values() if o.position_id == name and o.life == theirs.life and o.ours]
        filled = Counter(o.kind for o in mine if o.filled)
        for kind, count in (("REDUCE", ours.reduces), ("ADD", ours.add_on_count)):
            if filled[kind] != count:
                raise Violation(f"{name}: {count} in the books, {filled[kind]} orders of kind {kind} have filled")
        if ours.added_qty != theirs.added:
            raise Violation(f"{name}: {ours.added_qty} added in the books, {theirs.added} at the exchange")

    def _in_use(self) -> None:
        """What the quotas say is in use is in use (a lost track never ends)."""
        positions = self._exchange.positions
        if any(map(self._lost_track, positions)) or self._world.tainted:
            return
        for market in ("FUT", "SPOT"):
            held = [p for p in positions.values() if p.market == market and p.qty]
            count = Decimal(self._world.redis.do_get(keys.concurrency(market)) or "0")
            budget = Decimal(self._world.redis.do_get(keys.budget(market)) or "0")
            with exactly():
                taken = sum((p.taken for p in held), ZERO)
                if count != len(held) or abs(budget - taken) > ROUNDING:
                    raise Violation(f"quotas of {market}: {count}, {budget}; in use {len(held)}, {taken}")

    def _same(self, name: str, what: str, ours: Decimal, theirs: Decimal) -> None:
        with exactly():
            if abs(ours - theirs) > ROUNDING:
                raise Violation(f"{name}: {what} {ours}, at the exchange {theirs}")

    def _position(self, name: str) -> Position | None:
        """As Redis has it, or the store once it has left Redis."""
        fields = self._world.redis.do_hgetall(keys.state(name))
        if not fields and self._world.redis.do_zscore(keys.GONE, name) is not None:
            history = self._world.store.history[name]
            fields = cast(dict[str, str], history[max(history)]["state"])
            if fields["status"] != "CLOSED":
                raise Violation(f"{name} has left Redis although it is open")
        return from_fields(Position, fields) if fields else None

    def _no_work_left(self) -> None:
        redis = self._world.redis
        if self._world.waiting:
            raise Violation(f"results were never applied: {self._world.waiting}")
        for pattern in ("pos:op:*", "pos:outbox:*"):
            left = redis.scan(pattern)
            if left:
                raise Violation(f"left behind: {left}")
        letters = self._world.alerts.dead_letters
        if self._world.failed_over:  # before the loss is noticed, steps may be numbered as others were
            letters = [letter for letter in letters if "another snapshot" not in letter]
        if letters:
            raise Violation(f"dead letters: {letters}")

    def _history(self) -> None:
        """§7.1: snapshots 1, 2, 3 … whose last one says what is."""
        for name in self._exchange.positions:
            docs = self._world.store.history.get(name, {})
            position = self._position(name)
            assert position is not None
            if sorted(docs) != list(range(1, position.seq + 1)):
                raise Violation(f"{name}: snapshots {sorted(docs)} of {position.seq}")
            times = [int(str(docs[seq]["ts"])) for seq in sorted(docs)]
            if times != sorted(times):
                raise Violation(f"{name}: the snapshots' times run back")
            last = docs[position.seq]
            for member in ("qty", "entry_price_avg", "realized_pnl_usdt", "sl_price", "sl_level", "status", "paused"):
                said, live = last[member], getattr(position, member)
                if said != live and Decimal(str(said)) != live:
                    raise Violation(f"{name}: {member} is {live}, the last snapshot says {said}")

    # -- at the end --------------------------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """Everything is closed: nothing is left, nothing is lost, nothing counted twice."""
        self._no_work_left()
        self._people_know()
        self._conduct.at_the_end()
        self._history()
        for name, theirs in self._exchange.positions.items():
            if self._lost_track(name):
                continue
            ours = self._position(name)
            assert ours is not None
            if ours.sl_order or ours.orders:
                raise Violation(f"{name} is closed, its books name {ours.sl_order} {ours.orders}")
            if ours.is_open or theirs.qty:
                raise Violation(f"{name} is still open: {ours.qty} in the books, {theirs.qty} at the exchange")
            if ours.life == theirs.life and name not in self._world.exchange.unpriced | self._world.written_off:
                self._same(name, "realized PnL", ours.realized_pnl_usdt, theirs.realized)
            live = [o.client_order_id for o in self._exchange.live_orders(name)]
            if live:
                raise Violation(f"{live} live on")
            self._told(name)
            self._ended(name)
        if not any(map(self._lost_track, self._exchange.positions)):
            self._quotas()
        flying = [name for name, record in self._world.store.moved.items() if record["status"] in IN_FLIGHT]
        right = not self._world.profile.set_back  # by a clock that was an hour slow they are as old
        if flying and right and self._kernel.now - int(str(self._world.store.moved[flying[0]]["ts"])) > 40_000:
            raise Violation(f"transfers never settled: {flying}")
        for name, record in self._world.store.moved.items():
            if (record["status"] == "EXECUTED") != (name in self._world.wallets.moved) and name not in flying:
                raise Violation(f"transfer {name} is {record['status']}, the wallets say otherwise")

    def _lost_track(self, name: str) -> bool:
        """Whether a death let closes overtake the opening fills that they closed: nobody could tell what they closed.

        S6 says so (unless it died over that, too), and counts more lives than there were.
        """
        if name not in self._world.tainted:
            return False
        ours = self._position(name)
        more = ours is not None and ours.life != self._exchange.positions[name].life
        return more or ("ERROR", "OVERSELL", name) in self._world.alerts.told

    def _ended(self, name: str) -> None:
        """The end that the books name is the one that the order has come to; not of every end they must have heard."""
        for client_order_id, text in self._world.redis.do_hgetall(keys.orders(name)).items():
            order, record = self._exchange.orders.get(client_order_id), json.loads(text)
            if order is None or not order.ours or record["status"] not in TERMINAL:
                continue
            if record["status"] != order.status:
                raise Violation(f"{client_order_id} is {record['status']} in the books, {order.status} at the exchange")

    def _quotas(self) -> None:
        for market in ("FUT", "SPOT"):
            for key in (keys.concurrency(market), keys.budget(market)):
                left = Decimal(self._world.redis.do_get(key) or "0")
                if abs(left) > ROUNDING:
                    raise Violation(f"{key} is left at {left}")

    def _told(self, name: str) -> None:
        """Events tell of each quantity that filled, each stop that was accepted, each close: once."""
        told: dict[str, Decimal] = defaultdict(Decimal)
        counted: dict[str, int] = defaultdict(int)
        for fields in self.events.values():
            if fields["position_id"] == name:
                counted[fields["type"]] += 1
                told[fields["type"]] += Decimal(fields["qty"])
        filled: dict[str, Decimal] = defaultdict(Decimal)
        for order in self._exchange.orders.values():
            if order.position_id == name:
                filled[order.kind] += order.filled
        for type_, kind in (("ENTRY", "ENTRY"), ("ADD", "ADD"), ("TP_PARTIAL", "TP"), ("RISK_DOWNGRADE", "REDUCE")):
            if told[type_] != filled[kind] and name not in self._world.written_off:
                raise Violation(f"{name}: events tell of {told[type_]} {type_}, {filled[kind]} filled")
        mine = (o for o in self._exchange.orders.values() if o.position_id == name)
        stops = {o.client_order_id for o in mine if o.kind == "SL" and o.status != "REJECTED"}
        moves = {i.rpartition(".STOP_MOVE.")[2] for i in self.events if i.startswith(f"{name}.") and ".STOP_MOVE." in i}
        if missing := stops - moves - self._world.priceless:
            raise Violation(f"{name}: no STOP_MOVE tells of {missing}")
        ours = self._position(name)
        assert ours is not None
        if counted["EXIT"] != ours.life:
            raise Violation(f"{name}: {counted['EXIT']} EXIT events in {ours.life} lives")
