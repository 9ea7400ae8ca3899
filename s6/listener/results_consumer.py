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
from s6.engine.results import Contended, Results
from s6.listener.group import GroupReader
from s6.listener.sequencer import Sequencer
from s6.listener.streams import Entry, Lane, Streams, leave_out_odd
from s6.model.wire import MalformedMessage, OrderResult, SideConflict
from s6.ports import Alerts, BundleSource, NeighbourUnavailable, PartUnavailable, StateUnavailable

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
        results: Results,
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
        bundle = self._bundles.current()
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
            self._results.give_up_overdue()
        except PartUnavailable as error:
            log.warning("results of unknown positions wait: %s", error)

    def _handle(self, entry: Entry, deliveries: int) -> bool:
        """Apply, then acknowledge. Returns false after a passing failure: the entry stays pending, to be claimed."""
        try:
            result = self._messages.read(OrderResult, entry.fields)
            if entry.stream != keys.RESULTS + result.symbol:
                raise MalformedMessage(f"symbol: {result.symbol} does not belong on {entry.stream}")
            self._results.apply(result, entry.fields)
        except MalformedMessage as error:
            self._alerts.dead_letter(entry.stream, entry.entry_id, str(error), entry.fields)
            if isinstance(error, SideConflict):
                self._alerts.raise_alert(
                    "ERROR", "SIDE_CONFLICT", str(error), position_id=entry.fields.get("position_id", "")
                )
        except Contended:
            log.warning("%s %s left for later: its position kept changing", entry.stream, entry.entry_id)
            return False
        except NeighbourUnavailable as error:
            log.warning("%s %s left for later: %s", entry.stream, entry.entry_id, error)
            return False
        except PartUnavailable as error:
            log.warning("%s %s left for later: %s", entry.stream, entry.entry_id, error)
            return False
        except (RedisError, StateUnavailable):
            raise
        except Exception as error:
            log.exception("%s %s could not be applied", entry.stream, entry.entry_id)
            if deliveries < DELIVERIES:
                return False
            text = f"{type(error).__name__}: {error} (after {deliveries} deliveries)"
            self._alerts.dead_letter(entry.stream, entry.entry_id, text, entry.fields)
            where = f"{entry.stream} {entry.entry_id}"
            self._alerts.raise_alert("ERROR", "POISON_RESULT", f"{where}: {text}", scope=entry.stream)
        self._reader.done(entry)
        return True


def _is_due(last: float, every_s: float) -> bool:
    return time.monotonic() - last > every_s
