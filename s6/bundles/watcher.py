"""Keeps the Active Bundle up to date: follows S10's events, and also polls S10."""

from __future__ import annotations

import logging
import random
import time
from typing import Final

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import TextPubSub, text
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from s6.model.waiting import LONGEST_MS
from s6.model.wire import BundleEvent, MalformedMessage
from s6.ports import NeighbourUnavailable, StateUnavailable

log = logging.getLogger(__name__)

FIRST_S: Final = 0.25
SLICE_S: Final = 0.5
#: The time within which S10 serves a version that an event named.
ANNOUNCED_S: Final = 15.0


class BundleWatcher:
    """Asks S10 after an event, after each period, and when Redis has lost the bundle.

    After a failure it asks again soon, then with pauses that double up to the period. It outlasts outages of S10 and
    Redis.
    """

    def __init__(self, redis: RedisClient, bundles: Bundles, alerts: AlertLog, poll_s: float, reader: Reader) -> None:
        self._redis, self._bundles, self._alerts, self._poll_s = text(redis), bundles, alerts, poll_s
        self._reader = reader
        self._due, self._not_before = 0.0, 0.0
        self._pubsub: TextPubSub | None = None
        self._failures = 0
        self._announced, self._announced_until = "", 0.0

    def round(self) -> float:
        """Ask S10 when that is due, else wait a little for a reason. Returns the pause before the next round, in s."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._refresh()
            return 0.0
        try:
            reason = self._event_came()
        except RedisError as error:
            log.warning("no events from %s for now: %s", keys.BUNDLE_EVENTS, error)
            self.close()
            return SLICE_S
        if reason or self._lost():
            self._due = self._not_before
        return 0.0

    def _refresh(self) -> float:
        """Ask S10 once. Returns the seconds to wait until the next time."""
        wanted_s = 0.0
        try:
            outcome = self._bundles.refresh()
            well = outcome != "REFUSED" and not self._still_announced()
        except NeighbourUnavailable as error:
            well = False
            wanted_s = self._heeded(error)
            log.warning("bundle not fetched: %s", error)
        except RedisError as error:
            well = False
            log.warning("bundle not looked after: %s", error)
        self._failures = 0 if well else self._failures + 1
        if well:
            return self._poll_s
        longest = min(self._poll_s, FIRST_S * 2 ** min(self._failures, 20))
        return max(random.uniform(longest / 2, longest), wanted_s)

    def _heeded(self, error: NeighbourUnavailable) -> float:
        """Return the rest (s) that S10 wants, a minute at most; until it is over no event has S10 asked."""
        wanted_ms = error.retry_after_ms or 0
        if wanted_ms > LONGEST_MS:
            text = f"S10 wants {wanted_ms // 1000} s of rest; asked again in 60 s"
            self._alerts.raise_alert("ERROR", "S10_RETRY_AFTER", text)
        wanted_s = min(wanted_ms, LONGEST_MS) / 1000
        self._not_before = time.monotonic() + wanted_s
        return wanted_s

    def _still_announced(self) -> bool:
        """Return whether an event named a version that S10 doesn't serve yet."""
        latest = self._bundles.current()
        if not self._announced or (latest is not None and latest.version == self._announced):
            self._announced = ""
        return bool(self._announced) and time.monotonic() < self._announced_until

    def _event_came(self) -> bool:
        """Wait briefly for an event. Returns whether to ask S10 now. Raises ``RedisError``."""
        fresh = self._pubsub is None
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub()
            self._pubsub.subscribe(keys.BUNDLE_EVENTS)
        message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=SLICE_S)
        if message is not None:
            self._announced, self._announced_until = self._version(message["data"]), time.monotonic() + ANNOUNCED_S
            self._failures = 0
        return fresh or message is not None  # an event may have passed before the subscription

    def _lost(self) -> bool:
        try:
            return self._failures == 0 and self._bundles.missing()
        except RedisError:
            return False

    def close(self) -> None:
        """Close the subscription."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            try:
                pubsub.close()
            except RedisError as error:
                log.debug("subscription closed: %s", error)

    def _version(self, data: str) -> str:
        """Return the version that an event names, or "" for a malformed event, which also leads to asking S10."""
        try:
            return self._reader.read_json(BundleEvent, data).version
        except MalformedMessage as error:
            why = str(error)
        try:
            self._alerts.dead_letter(keys.BUNDLE_EVENTS, "", why, data)
        except StateUnavailable as fault:
            log.error("malformed event on %s (%s) not put aside (%s): %.500s", keys.BUNDLE_EVENTS, why, fault, data)
        return ""
