"""Asks S1 for a tick of each market with open positions whose stream is silent, and takes it like one of the stream."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.health.mode import ModeGate, open_symbols
from s6.listener.market_reader import PASSING
from s6.model.waiting import LONGEST_MS
from s6.ports import BundleSource, Clock, MarketSource, NeighbourUnavailable

log = logging.getLogger(__name__)

PERIOD_S: Final = 2.0
SHORTEST_S: Final = 0.2
LONGEST_LOOK_S: Final = 10.0
#: So many markets are asked for at once.
ASKERS: Final = 8
NOT_OFFERED_MS: Final = 60_000


class Ticks(Protocol):
    """Takes the ticks of the streams."""

    def streamed_ts(self, symbol: str) -> int | None:
        """Return the time (ms) of the newest tick that the stream brought, or None before the first."""

    def answered(self, symbol: str, fields: Mapping[str, str]) -> None:
        """Have S1's answer taken like an entry of the stream."""


class SilentMarkets:
    """Asks for each market every ``health.poll_interval_s``, and a minute after S1 does not offer it.

    The listeners share these pauses in Redis, so that one of them asks. Nothing waits for the answers.
    """

    def __init__(
        self, redis: RedisClient, s1: MarketSource, ticks: Ticks, gate: ModeGate, bundles: BundleSource, clock: Clock
    ) -> None:
        self._redis, self._s1, self._ticks, self._gate = text(redis), s1, ticks, gate
        self._bundles, self._clock = bundles, clock
        self._pool = ThreadPoolExecutor(ASKERS, "ask-market")
        self._lock = threading.Lock()
        self._asking: set[str] = set()

    def round(self) -> float:
        """Have the markets asked for that are due. Returns the pause before the next round, in s."""
        began, period_s = time.monotonic(), PERIOD_S
        try:
            bundle = self._bundles.current()
            period_s = max(bundle.health.poll_interval_ms / 1000 if bundle else PERIOD_S, SHORTEST_S)
            for symbol in self._silent():
                self._begin(symbol, int(period_s * 900))  # a little less than the period, so that no round is missed
        except PASSING as error:
            log.warning("silent markets not looked at: %s", error)
        return max(0.0, min(period_s, LONGEST_LOOK_S) - (time.monotonic() - began))

    def close(self) -> None:
        """End the threads that ask."""
        self._pool.shutdown(cancel_futures=True)

    def _silent(self) -> list[str]:
        now = self._clock.now_ms()
        return [s for s in open_symbols(self._redis) if self._gate.is_stale(self._ticks.streamed_ts(s), now)]

    def _begin(self, symbol: str, pause_ms: int) -> None:
        with self._lock:
            if symbol in self._asking or not self._redis.set(keys.asked(symbol), "1", nx=True, px=pause_ms):
                return
            self._asking.add(symbol)
        self._pool.submit(self._ask, symbol)

    def _ask(self, symbol: str) -> None:
        try:
            pause_ms = self._asked(symbol)
            if pause_ms:
                self._redis.set(keys.asked(symbol), "1", px=pause_ms)
        except PASSING as error:
            log.warning("no tick of %s from S1: %s", symbol, error)
        finally:
            with self._lock:
                self._asking.discard(symbol)

    def _asked(self, symbol: str) -> int:
        """Ask once, and have the answer taken. Returns how long (ms) S1 must not be asked again, 0: as usual."""
        try:
            fields = self._s1.tick(symbol)
        except NeighbourUnavailable as error:
            log.warning("no tick of %s from S1: %s", symbol, error)
            return min(error.retry_after_ms or 0, LONGEST_MS)
        if fields is None:
            return NOT_OFFERED_MS
        self._ticks.answered(symbol, fields)
        return 0
