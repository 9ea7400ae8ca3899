"""What the bundle allows, held against each order that S4 takes and against the transfers, by arithmetic of its own.

A limit that changes with the bundle is the most generous one that was ever in force in the seed. What the books could
not know yet (a fill of a moment ago) is allowed for; after a fault nothing is judged that a fault may excuse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from s6 import keys
from s6.model.types import ZERO
from s6.rules.exact import exactly
from tests.simulation.ledger import MIN_NOTIONAL, STEP, XOrder, XPosition

if TYPE_CHECKING:
    from tests.simulation.world import World

ONE: Final = Decimal(1)
#: How long before an order's acceptance its decision may have been made, when nothing goes wrong.
DECIDED_MS: Final = 3_000
#: By how much the mark may have moved since.
MOVED: Final = Decimal("1.05")
#: For how long after a fault a limit may be overstepped because of it.
EXCUSED_MS: Final = 12_500


class Overstepped(AssertionError):
    """A limit was not kept."""


class Limits:
    def __init__(self, world: World) -> None:
        self._world, self._kernel, self._exchange = world, world.kernel, world.exchange
        self.late: set[str] = set()
        self.late_adds: set[str] = set()

    def arrived(self, order: XOrder, record: dict[str, object]) -> None:
        """Note an order whose sender was held up for longer than its lock lasts.

        S6 may have given it up since; people are told by the FATAL ``LOCK_OVERRUN``.
        """
        if self._kernel.now - int(str(record["sent_ts"])) > keys.position_lock("").ttl_ms + self._skew:
            self.late.add(order.client_order_id)
            if order.kind == "ADD":
                self.late_adds.add(order.position_id)

    def accepted(self, order: XOrder, position: XPosition, record: dict[str, object]) -> None:
        """S4 has just taken an order of S6's; ``record`` is what S6 wrote down about it."""
        if order.kind == "ADD":
            self._add(order, position, record)
        elif order.kind == "TP":
            self._take_profit(order, position, record)
        elif order.kind == "REDUCE":
            self._reduce(order, position)
        elif order.kind == "EXIT":
            self._exit(order, int(str(record["sent_ts"])))

    def moved(self, order: XOrder, before: XOrder, position: XPosition, levels: tuple[str, str]) -> None:
        """A stop was placed where another one was cancelled for it; ``levels`` are the old one's and its own."""
        price_alone = order.qty == before.qty - before.filled and levels[0] == levels[1]
        if not price_alone or order.stop_px == before.stop_px or self._disturbed_since(before.ts):
            return
        assert order.stop_px is not None and before.stop_px is not None
        with exactly():
            far = abs(order.stop_px - before.stop_px) * 10_000 >= self._least(_min_move) * before.stop_px
        if not far:
            raise Overstepped(f"{order.client_order_id} moves a stop from {before.stop_px} to {order.stop_px} only")
        if order.ts - before.ts < self._least(_min_interval) - self._skew:
            raise Overstepped(f"{order.client_order_id} comes {order.ts - before.ts} ms after the last stop")

    # -- adds --------------------------------------------------------------------------------------------------

    def _add(self, order: XOrder, position: XPosition, record: dict[str, object]) -> None:
        exchange, name = self._exchange, order.client_order_id
        adds = [o for o in exchange.orders.values() if o.kind == "ADD" and o.ours]
        at_work = [o for o in adds if o.live]
        if not self._world.wiped and len(at_work) > self._most(lambda b: b.limits.adds_in_flight):
            raise Overstepped(f"adds at work: {[o.client_order_id for o in at_work]}")
        if name in self.late:
            return
        mine = [o for o in adds if o.position_id == order.position_id and o.life == order.life]
        if len([o for o in mine if o.live or o.filled]) > self._most(lambda b: _rule(b).cap):
            raise Overstepped(f"{name} is one add too many")
        known = sum(1 for o in mine if o.filled and o.first_fill_ts <= self._decided())
        with exactly():
            added = sum((o.qty if o.live else o.filled for o in mine), ZERO)
            if added > self._most(lambda b: _rule(b).eta) * position.q0 and not self._unknown(position):
                raise Overstepped(f"{name}: {added} added to {position.q0}")
            if order.qty > position.q0 * self._most(lambda b: _rule(b).gamma) ** (known + 1):
                raise Overstepped(f"{name} is for {order.qty}, the {known + 1}th add to {position.q0}")
        self._budget(order, at_work)
        self._reached(order, position, self._least(lambda b: _rule(b).roe_gate))

    def _budget(self, order: XOrder, at_work: list[XOrder]) -> None:
        budgets = [b.limits.fut_budget for b in self._world.bundles.ever]
        if None in budgets or self._disturbed_since(self._decided()) or self._world.waiting:
            return
        exchange = self._exchange
        with exactly():
            taken = sum((p.taken for p in exchange.positions.values() if p.market == "FUT" and p.qty), ZERO)
            taken -= sum((m for at, market, m in self._world.took if market == "FUT" and at >= self._decided()), ZERO)
            wanted = sum(
                (o.remaining * self._world.mark / exchange.positions[o.position_id].leverage for o in at_work), ZERO
            )
            if taken + wanted > max(b for b in budgets if b is not None) * MOVED:
                raise Overstepped(f"{order.client_order_id} takes the budget to {taken + wanted}")

    # -- what closes -------------------------------------------------------------------------------------------

    def _take_profit(self, order: XOrder, position: XPosition, record: dict[str, object]) -> None:
        rungs: list[int] = _indexes(record)
        ever = [_ladder(b, position.market) for b in self._world.bundles.ever]
        ladders = [ladder for ladder in ever if len(ladder) > max(rungs, default=0)]
        self._sized(order, position, [[ladder[i].fraction for i in rungs] for ladder in ladders])
        self._reached(order, position, min(ladder[i].roe for ladder in ladders for i in rungs))

    def _reduce(self, order: XOrder, position: XPosition) -> None:
        earlier = [
            o
            for o in self._exchange.orders.values()
            if o.kind == "REDUCE" and o.position_id == order.position_id and o.life == order.life and o is not order
        ]
        counted = [o for o in earlier if o.live or o.filled]
        if len(counted) >= self._most(lambda b: _risk(b).max_reduces):
            raise Overstepped(f"{order.client_order_id} is one reduction too many")
        last = max((o.first_fill_ts for o in counted), default=0)
        if last and order.ts - last < self._least(lambda b: _risk(b).cooldown_ms) - self._skew:
            raise Overstepped(f"{order.client_order_id} comes {order.ts - last} ms after the last reduction")
        self._sized(order, position, [[_risk(b).reduce_fraction] for b in self._world.bundles.ever])

    def _sized(self, order: XOrder, position: XPosition, fractions: list[list[Decimal]]) -> None:
        """Parts of what is held, and no more; exactly those where nothing else has changed what is held."""
        if self._unknown(position):
            return
        since = self._decided()
        held, marks = position.held_since(since), self._exchange.marks_since(since)
        sizes = {_part(qty, parts, mark) for qty in held for parts in fractions for mark in marks}
        if order.qty > max(sizes) or (len(set(held)) == 1 and order.qty not in sizes):
            raise Overstepped(f"{order.client_order_id} closes {order.qty} of {held}, not one of {sorted(sizes)}")

    def _exit(self, order: XOrder, decided_ts: int) -> None:
        """It keeps its pause after a refused one, if that was known."""
        until = self._exchange.exit_pause(order.position_id, decided_ts - self._skew)
        known = order.position_id not in self._world.waiting.values() and not self._world.wiped
        if known and order.ts < until - self._skew:
            raise Overstepped(f"{order.client_order_id} comes {until - order.ts} ms too soon after a refused EXIT")

    def _reached(self, order: XOrder, position: XPosition, gate: Decimal) -> None:
        """The mark was there at which the position's ROE reaches the gate."""
        since = self._decided()
        if self._unknown(position) or len(set(position.held_since(since))) > 1 or not position.margin:
            return
        basis = position.margin if position.market == "FUT" else position.entry * position.qty
        with exactly():
            best = max((m - position.entry) * position.dir for m in self._exchange.marks_since(since)) * position.qty
            if best < gate * basis:
                raise Overstepped(f"{order.client_order_id}: ROE {best / basis} has not reached {gate}")

    # -- transfers ---------------------------------------------------------------------------------------------

    def transfers(self) -> None:
        """None is larger than allowed, and the automatic check leaves a pause."""
        most = self._most(lambda b: b.treasury.max_transfer)
        pause = self._least(lambda b: b.treasury.cooldown_ms) - self._skew
        ended = 0
        for name, record in sorted(self._world.store.moved.items(), key=lambda item: int(str(item[1]["turn"]))):
            if Decimal(str(record["amount"])) > most:
                raise Overstepped(f"transfer {name} of {record['amount']}")
            if record["requested_by"] == "s6" and ended and int(str(record["ts"])) - ended < pause:
                raise Overstepped(f"transfer {name} began {int(str(record['ts'])) - ended} ms after the last one")
            ended = int(str(record["updated_ts"]))

    # -- what may have been known ------------------------------------------------------------------------------

    @property
    def _skew(self) -> int:
        return self._world.clock.apart

    def _decided(self) -> int:
        return self._kernel.now - DECIDED_MS

    def _disturbed_since(self, ts: int) -> bool:
        return self._world.faults.disturbed + EXCUSED_MS >= ts

    def _unknown(self, position: XPosition) -> bool:
        """Whether S6 may have decided by something else than what the exchange shows."""
        news = position.position_id in self._world.waiting.values()
        return news or position.position_id in self._world.tainted or self._disturbed_since(self._decided())

    def _most(self, limit: Callable[[Any], Any]) -> Any:
        return max(map(limit, self._world.bundles.ever))

    def _least(self, limit: Callable[[Any], Any]) -> Any:
        return min(map(limit, self._world.bundles.ever))


def _rule(bundle: Any) -> Any:
    return bundle.fut("BTCUSDT").add_on


def _risk(bundle: Any) -> Any:
    return bundle.fut("BTCUSDT").risk


def _min_move(bundle: Any) -> Any:
    return bundle.fut("BTCUSDT").stop.min_move_bps


def _min_interval(bundle: Any) -> Any:
    return bundle.fut("BTCUSDT").stop.min_interval_ms


def _ladder(bundle: Any, market: str) -> Any:
    return (bundle.fut if market == "FUT" else bundle.spot)("BTCUSDT").tp_ladder


def _indexes(record: dict[str, object]) -> list[int]:
    rungs: list[int] = json.loads(str(record["rungs"]))
    return rungs


def _part(held: Decimal, fractions: Iterable[Decimal], mark: Decimal) -> Decimal:
    """These fractions of what is held, one after the other: whole steps, never less than S4 takes, no rest that it
    wouldn't take."""
    with exactly():
        left = held
        for fraction in fractions:
            left *= ONE - fraction
        qty = (held - left) // STEP * STEP
        steps = MIN_NOTIONAL // (mark * STEP)
        least = (steps + (steps * mark * STEP < MIN_NOTIONAL)) * STEP
        qty = max(qty, min(least, held))
        return held // STEP * STEP if held - qty < least else qty
