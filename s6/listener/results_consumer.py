"""Consumes ``ord:result:*``: applies each result once and in its turn, claims what a dead consumer left, puts malformed
ones aside."""

from __future__ import annotations

import logging
import time
from typing import Final

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.engine.results_batch import PASSING, ResultsBatch, Told
from s6.listener.group import GroupReader
from s6.listener.sequencer import Delivered, Sequencer
from s6.listener.streams import Entry, Lane, Streams, leave_out_odd
from s6.model.wire import MalformedMessage, OrderResult, SideConflict
from s6.ports import Alerts, BundleSource, PartUnavailable, StateUnavailable

log = logging.getLogger(__name__)
CLAIM_EVERY_S: Final = 0.5
IDLE_MS: Final = 1_000
DELIVERIES: Final = 10
TIDY_EVERY_S: Final = 60.0
GONE_MS: Final = 3_600_000
AGAIN_S: Final = 0.2


class ResultsConsumer:
    """Reads and applies order results, round by round.

    Each lane of a cluster has a consumer of its own, as if it were another listener: no result overtakes when a stream
    goes over to another lane.
    """

    def __init__(
        self,
        redis: RedisClient,
        consumer: str,
        results: ResultsBatch,
        bundles: BundleSource,
        alerts: Alerts,
        messages: Reader,
        lane: Lane | None = None,
    ) -> None:
        self._reader = GroupReader(redis, consumer)
        self._streams = Streams(redis, keys.RESULTS, lane)
        self._results = results
        self._bundles = bundles
        self._alerts = alerts
        self._messages = messages
        self._order = Sequencer(self._reader, self._handle)
        self._claimed_at = 0.0
        self._tidied_at = 0.0
        self._behind = False

    def round(self) -> float:
        """Apply what is there, waiting a little for some. Returns the pause before the next round, in s."""
        try:
            self._work()
        except (RedisError, StateUnavailable, OSError) as error:
            log.warning("results wait for Redis: %s", error)
            leave_out_odd(self._streams, self._alerts, error)
            self._behind = True
            self._reader.forget()
            self._order.drop()
            return AGAIN_S
        return 0.0

    def _work(self) -> None:
        """Handle what was left behind before what is new: an add must be booked before the close that followed it."""
        bundle = self._bundles.latest or self._bundles.current()
        names = self._streams.names(bundle.symbols if bundle else ())
        if self._behind:
            self._order.hold(self._reader.unfinished(names))
            self._behind = False
        claiming = _is_due(self._claimed_at, CLAIM_EVERY_S)
        if claiming:
            self._claimed_at = time.monotonic()
            self._order.hold(self._reader.left_behind(names, IDLE_MS))
        self._order.work_off()
        if claiming:
            self._give_up_overdue()
        fresh = self._reader.read(self._order.room(names), hurried=self._order.waiting)
        self._order.work_off(self._order.hold(fresh))
        if _is_due(self._tidied_at, TIDY_EVERY_S):
            self._tidied_at = time.monotonic()
            self._reader.tidy(names, GONE_MS)

    def _give_up_overdue(self) -> None:
        try:
            self._results.results.give_up_overdue()
        except PartUnavailable as error:
            log.warning("results of unknown positions wait: %s", error)

    def _handle(self, batch: list[Delivered]) -> list[Entry]:
        """Apply, then acknowledge. Returns what a passing failure leaves for later: it stays pending, to be claimed."""
        told: list[Told] = []
        read: list[Delivered] = []
        done: list[Entry] = []
        for each in batch:
            try:
                told.append(self._read(each.entry))
                read.append(each)
            except MalformedMessage as error:
                self._put_aside(each.entry, error)
                done.append(each.entry)
        left: list[Entry] = []
        for each, outcome in zip(read, self._results.apply(told) if told else [], strict=True):
            passing = isinstance(outcome, Exception) and self._passes(each, outcome)
            (left if passing else done).append(each.entry)
        self._reader.done(done)
        return left

    def _read(self, entry: Entry) -> Told:
        result = self._messages.read(OrderResult, entry.fields)
        if entry.stream != keys.RESULTS + result.symbol:
            raise MalformedMessage(f"symbol: {result.symbol} does not belong on {entry.stream}")
        return Told(result, entry.fields)

    def _put_aside(self, entry: Entry, error: MalformedMessage) -> None:
        self._alerts.dead_letter(entry.stream, entry.entry_id, str(error), entry.fields)
        if isinstance(error, SideConflict):
            name = entry.fields.get("position_id", "")
            self._alerts.raise_alert("ERROR", "SIDE_CONFLICT", str(error), position_id=name)

    def _passes(self, delivered: Delivered, error: Exception) -> bool:
        """Return whether an entry that could not be applied is left for later, or else put it aside."""
        entry, deliveries = delivered
        if isinstance(error, MalformedMessage):
            self._put_aside(entry, error)
            return False
        if isinstance(error, PASSING):
            log.warning("%s %s left for later: %s: %s", entry.stream, entry.entry_id, type(error).__name__, error)
            return True
        if deliveries < DELIVERIES:
            return True
        text = f"{type(error).__name__}: {error} (after {deliveries} deliveries)"
        self._alerts.dead_letter(entry.stream, entry.entry_id, text, entry.fields)
        where = f"{entry.stream} {entry.entry_id}"
        self._alerts.raise_alert("ERROR", "POISON_RESULT", f"{where}: {text}", scope=entry.stream)
        return False


def _is_due(last: float, every_s: float) -> bool:
    return time.monotonic() - last > every_s
