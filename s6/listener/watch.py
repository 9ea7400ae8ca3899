"""The listener's watches: one puts changed positions into the trigger index, one hints at operations that rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from redis.exceptions import RedisError

from s6.adapters.redis_client import RedisClient
from s6.engine.looks import Looks
from s6.listener.changes import Changes
from s6.listener.index import TriggerIndex
from s6.model.bundle import ActiveBundle
from s6.model.market import MarketView
from s6.model.position import Position
from s6.ports import (
    BundleSource,
    Clock,
    Hints,
    Losses,
    Markets,
    PartUnavailable,
    PositionIndex,
    Positions,
    StateUnavailable,
)

log = logging.getLogger(__name__)
REFRESH_S: Final = 5.0
AT_REST_EVERY_S: Final = 1.0
PASSED_OVER_S: Final = 1.0
SHARD: Final = 500
AGAIN_S: Final = 0.2


class WatchState(Positions, PositionIndex, Markets, Losses, Protocol):
    """What watching positions needs of the state."""


class IndexKeeper:
    """Follows ``s6:changed``. Since a message may be lost, it also reads all open positions anew every few seconds.

    What it cannot reach it passes over, and reads all anew after a second.
    """

    def __init__(
        self,
        redis: RedisClient,
        state: WatchState,
        bundles: BundleSource,
        index: TriggerIndex,
        hints: Hints,
    ) -> None:
        self._changes = Changes(redis)
        self._state = state
        self._bundles = bundles
        self._index = index
        self._hints = hints
        self._due = 0.0
        self._passed_over = False
        self._missing: set[str] = set()
        self._doubted: set[str] = set()

    def round(self) -> float:
        """Put in what changed, or everything when that is due. Returns the pause before the next round, in s."""
        try:
            self._follow()
        except (RedisError, StateUnavailable, OSError) as error:
            log.warning("the trigger index waits for Redis: %s", error)
            self.close()
            return AGAIN_S
        return 0.0

    def close(self) -> None:
        """Give the subscription back."""
        self._changes.close()

    def _follow(self) -> None:
        if self._changes.subscribe():
            self._due = 0.0  # what changed before was not heard of
        if time.monotonic() >= self._due:
            began = time.monotonic()
            self._as_far_as_reached(self._refresh)
            self._due = time.monotonic() + max(REFRESH_S, 5 * (time.monotonic() - began))
        if changed := self._changes.wait():
            self._as_far_as_reached(lambda: self._put(sorted(changed)))
        if self._passed_over:
            self._due = min(self._due, time.monotonic() + PASSED_OVER_S)
            self._passed_over = False

    def _as_far_as_reached(self, work: Callable[[], object]) -> None:
        try:
            work()
        except PartUnavailable as error:
            log.warning("not all open positions were looked at: %s", error)
            self._passed_over = True

    def _refresh(self) -> None:
        ids = self._open_ids()
        whole, missing = not self._passed_over, set[str]()
        for start in range(0, len(ids), SHARD):
            missing |= self._put(ids[start : start + SHARD])
        if whole:
            self._index.keep_only(set(ids))
            self._doubt(missing)

    def _open_ids(self) -> list[str]:
        """Return the open positions, as far as they can be reached: a node that names some may be away."""
        ids = list[str]()
        for symbol in self._state.symbols():
            try:
                ids += self._state.ids_of(symbol)
            except PartUnavailable as error:
                log.warning("positions in %s not looked at: %s", symbol, error)
                self._passed_over = True
        return ids

    def _doubt(self, missing: set[str]) -> None:
        """Have everything reconciled when positions are lost: indexed, but missing from Redis twice in a row.

        Once is not enough, because a position is indexed before it is written.
        """
        lost = (missing & self._missing) - self._doubted
        self._missing = missing
        self._doubted = (self._doubted & missing) | lost
        if lost:
            log.error("%s positions are missing from Redis, %s among them: reconciling", len(lost), min(lost))
            self._state.doubt()

    def _put(self, ids: list[str]) -> set[str]:
        """Index these positions, as far as they can be reached. Returns the ids of those that do not exist."""
        loaded = self._state.load_reachable(ids)
        self._passed_over |= len(loaded) < len(ids)
        bundle = self._bundles.current()
        if bundle is not None:
            self._index_all([each.position for each in loaded.values() if each is not None], bundle)
        return {position_id for position_id, each in loaded.items() if each is None}

    def _index_all(self, found: list[Position], bundle: ActiveBundle) -> None:
        views = self._state.markets({p.symbol for p in found})
        for position in found:
            if position.symbol not in views:
                self._passed_over = True
            else:
                self._index_one(position, bundle, views[position.symbol])

    def _index_one(self, position: Position, bundle: ActiveBundle, view: MarketView) -> None:
        late = self._index.put(position, bundle, view.features)
        for move in late:
            self._state.put_crossing(position.position_id, move.mark, move.at)
        if late:
            self._hints.evaluate(position.position_id)


class RestWatch:
    """Hints again at what stands still: operations, unprotected positions (``index`` has them), looks nobody began.

    It stands between Celery's own retries and the sweep, because a hint dies with the worker that took it.
    """

    def __init__(
        self,
        state: WatchState,
        hints: Looks,
        clock: Clock,
        index: TriggerIndex | None = None,
        working: Callable[[], bool] = bool,
    ) -> None:
        """``working`` says whether a worker lives."""
        self._state = state
        self._hints = hints
        self._clock = clock
        self._index = index
        self._working = working
        self._standing: dict[str, tuple[tuple[object, ...], int]] = {}
        self._unprotected: set[str] = set()

    def round(self) -> float:
        """Look once. Returns the pause before the next round, in s."""
        self._look()
        return AT_REST_EVERY_S

    def _look(self) -> None:
        """Take each step, also when another cannot be taken: in a cluster what they read is on several nodes."""
        for step in (self._resume_operations, self._protect, self._ask_again):
            try:
                step()
            except StateUnavailable as error:
                log.warning("what stands still was not all looked at: %s", error)

    def _resume_operations(self) -> None:
        listed = self._state.ops_in_flight()
        standing: dict[str, tuple[tuple[object, ...], int]] = {}
        now = self._clock.now_ms()
        known = self._state.load_reachable([name for name, _ in listed])
        for name, mark in listed:
            if name not in known:  # its node is away
                continue
            loaded = known[name]
            if loaded is None or loaded.op is None:
                self._state.op_settled(name, mark)
                continue
            op = loaded.op
            step = (op.op_id, op.stage, op.attempts)
            seen, looks = self._standing.get(name, (step, -1))
            looks = looks + 1 if seen == step else 0
            standing[name] = (step, looks)
            if looks and looks & (looks - 1) == 0 and op.at_rest(now):  # after 1, 2, 4, 8 … looks: poison must not loop
                self._hints.resume(name, op)
        self._standing = standing

    def _protect(self) -> None:
        unprotected = self._index.unprotected() if self._index is not None else set()
        for name in sorted((unprotected & self._unprotected) - self._standing.keys()):
            self._hints.protect(name)
        self._unprotected = unprotected

    def _ask_again(self) -> None:
        self._hints.ask_again(self._working)
