"""The sweep reads the open positions in shards, plans each without its lock, and hints at an evaluation only where
something is to be done or an operation stands still. It backs up results and hints; nothing waits for it alone.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Final, Protocol

from s6 import keys
from s6.locks import held_softly
from s6.model.bundle import ActiveBundle
from s6.model.commit import Loaded, Reservation
from s6.model.market import MarketView
from s6.model.position import Position
from s6.plan import Plan, build_plan
from s6.plan.agenda import BEST_MS
from s6.ports import (
    BundleSource,
    Clock,
    Gate,
    Hints,
    LockBusy,
    Locks,
    Markets,
    Metrics,
    Outbox,
    PartUnavailable,
    PositionIndex,
    Positions,
    Quotas,
)

log = logging.getLogger(__name__)
SHARD: Final = 500
CLOSED_KEEP_MS: Final = 86_400_000
FORGOTTEN: Final = 2_000
STALE_ADD_MS: Final = 60_000  # far longer than any lock lasts under which an add is written down


@dataclass(slots=True)
class Swept:
    """What a sweep found: positions read, ids hinted at, open and stagnated positions."""

    positions: int = 0
    hinted: list[str] = field(default_factory=list)
    open: int = 0
    stagnated: int = 0


class SweepState(Locks, Positions, PositionIndex, Markets, Quotas, Outbox, Protocol):
    """What sweeping needs of the state."""


class Sweep:
    def __init__(
        self,
        state: SweepState,
        bundles: BundleSource,
        gate: Gate,
        hints: Hints,
        metrics: Metrics,
        clock: Clock,
        period_ms: int,
        closed_keep_ms: int = CLOSED_KEEP_MS,
    ) -> None:
        self._state = state
        self._bundles = bundles
        self._gate = gate
        self._hints = hints
        self._metrics = metrics
        self._clock = clock
        self._period_ms = period_ms
        self._closed_keep_ms = closed_keep_ms

    def run_once(self) -> None:
        """Sweep once a period, however many processes ask. Raises ``StateUnavailable``."""
        if self._state.lock(keys.SWEEP_TURN, max(1, self._period_ms * 9 // 10)) is None:
            return
        try:
            with held_softly(self._state, keys.SWEEP_LOCK, self._clock):
                self.run()
                self._state.note_sweep(self._clock.now_ms())
        except LockBusy:
            return

    def run(self) -> Swept:
        """Pass over all open positions once. Returns what was found. Raises ``StateUnavailable``."""
        began = time.perf_counter()
        swept = Swept()
        bundle = self._bundles.current()
        if bundle is not None:
            for symbol in self._state.symbols():
                try:
                    self._symbol(symbol, bundle, swept)
                except PartUnavailable as error:
                    log.warning("%s not swept: %s", symbol, error)
        self._hints.evaluate_many(swept.hinted)
        for name, reservation in self._state.adds_reserved().items():
            self._release_stale_add(name, reservation)
        self._forget_closed()
        self._metrics.set("s6_sweep_positions", swept.positions)
        self._metrics.set("s6_open_positions", swept.open)
        self._metrics.set("s6_stagnated_positions", swept.stagnated)
        self._metrics.observe("s6_sweep_seconds", time.perf_counter() - began)
        return swept

    def screen(self, symbol: str) -> None:
        """Hint at evaluations in one symbol whose features have changed, where something is to be done."""
        bundle, swept = self._bundles.current(), Swept()
        if bundle is not None:
            self._symbol(symbol, bundle, swept)
            self._hints.evaluate_many(swept.hinted)

    def _symbol(self, symbol: str, bundle: ActiveBundle, swept: Swept) -> None:
        ids = self._state.ids_of(symbol)
        view = self._state.market(symbol)
        for start in range(0, len(ids), SHARD):
            shard = ids[start : start + SHARD]
            for position_id, loaded in self._state.load_reachable(shard).items():
                if loaded is None:
                    continue
                swept.positions += 1
                swept.open += loaded.position.is_open
                swept.stagnated += loaded.position.stagnated and loaded.position.is_open
                if self._needs(loaded, bundle, view):
                    swept.hinted.append(position_id)

    def _needs(self, loaded: Loaded, bundle: ActiveBundle, view: MarketView) -> bool:
        position, op = loaded
        now = self._clock.now_ms()
        if op is not None or not position.is_open or position.unverified_from:
            return True
        if position.unconfirmed(now, bundle.execution.cancel_wait_ms):
            return True
        mode = self._gate.mode(position.market, view, now)
        plan: Plan = build_plan(position, view, bundle, mode, now)
        return bool(plan.actions) or _worth_writing(position, plan.position, now)

    def _forget_closed(self) -> None:
        """Take positions that closed long ago out of Redis. What still waits for the store goes with a later sweep."""
        for position_id in self._state.closed_before(self._clock.now_ms() - self._closed_keep_ms, FORGOTTEN):
            self._state.forget(position_id)

    def _release_stale_add(self, position_id: str, reservation: Reservation) -> None:
        """End a reservation whose add is not at work. One that is about to be written down stays, and so does one whose
        budget move is on its way."""
        if abs(self._clock.now_ms() - reservation.ts) < STALE_ADD_MS:
            return
        loaded = self._state.load(position_id)
        at_work = loaded is not None and (
            (loaded.op is not None and loaded.op.kind == "ADD") or any(o.kind == "ADD" for o in loaded.position.orders)
        )
        waiting = self._state.outbox_read([position_id], 1).get(position_id)
        if not at_work and waiting is not None and not waiting.events:
            self._state.release_add(position_id, reservation.client_order_id)


def _worth_writing(before: Position, after: Position, now: int) -> bool:
    """Return whether what an evaluation would write matters soon. A new best ROE alone may wait a minute."""
    if (after.breach_ts, after.stagnated, after.sl_level) != (before.breach_ts, before.stagnated, before.sl_level):
        return True
    return after.best_ts != before.best_ts and now - before.best_ts > BEST_MS
