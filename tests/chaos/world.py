"""A market and an entry side under the test's own hand: seeded, and able to stand still when all is to be counted."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from typing import Final

import requests

from s6.paper.bundle import SPECS
from s6.paper.config import PaperConfig
from s6.paper.ledger import now_ms
from s6.paper.market import Track
from s6.threads import LoopThread
from tests.support.paper_client import PaperClient, PaperError

TICK_S: Final = 0.2
MARKET_MS_A_TICK: Final = 12_000
FEATURE_S: Final = 1.0
SIGNAL_S: Final = 4.0
PACE_S: Final = 0.05
#: How often, once a second, the exchange closes a part of some position by itself.
CLOSES_ITSELF: Final = 0.3
LEVERAGES: Final = (Decimal(20), Decimal(50), Decimal(50), Decimal(100))


class World:
    """Ticks, features with signals, and new positions wherever one of ``count`` is missing, until ``stop``.

    A paper house that can't reach Redis, or that is busy, delays it and nothing else.
    """

    def __init__(self, base_url: str, *, seed: int, count: int) -> None:
        self._paper = PaperClient(base_url)
        self._random = random.Random(f"world {seed}")
        self._count = count
        config = PaperConfig(seed=seed, market="manual", strategy=False)
        self._tracks = [Track.begin(symbol, SPECS[symbol], config) for symbol in config.symbols]
        self._loop = LoopThread("world", self._round)
        self._due = time.monotonic()
        self._numbers = itertools.count(1)
        self._told_at, self._signalled_at, self._entered_at = 0.0, 0.0, 0.0
        self.entered = 0

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()
        self._loop.join(30)

    def _round(self) -> float:
        self._due = max(self._due + TICK_S, time.monotonic())
        with suppress(PaperError, requests.RequestException):
            self._turn()
        return max(0.0, self._due - time.monotonic())

    def _turn(self) -> None:
        now = time.monotonic()
        tell = now - self._told_at >= FEATURE_S
        signal = tell and now - self._signalled_at >= SIGNAL_S
        for track in self._tracks:
            closed = track.advance(MARKET_MS_A_TICK)
            self._paper.tick(track.symbol, track.quote(now_ms()).mark)
            if closed is not None and tell:
                name = f"{track.symbol}-{next(self._numbers)}"
                more = {"signal": closed.signal, "signal_id": name} if signal else {}
                self._paper.feature(track.symbol, atr=closed.atr, regime=closed.regime, **more)
        self._told_at = now if tell else self._told_at
        self._signalled_at = now if signal else self._signalled_at
        if now - self._entered_at >= PACE_S:
            self._entered_at = now
            self._enter()
        if tell and self._random.random() < CLOSES_ITSELF:
            self._close_some()

    def _close_some(self) -> None:
        """The exchange closes a part of some position by itself."""
        held = [p for p in self._paper.positions(open_only=True) if p["market"] == "FUT"]
        if not held:
            return
        chosen = self._random.choice(held)
        track = next(track for track in self._tracks if track.symbol == chosen["symbol"])
        part = track.spec.floor(Decimal(str(chosen["qty"])) / 3)
        if part:
            self._paper.manual_close(str(chosen["position_id"]), part, reason="ADL")

    def _enter(self) -> None:
        held = self._paper.positions(open_only=True)
        sides = Counter(p["side"] for p in held if p["market"] == "FUT")
        for _ in range(min(self._count - len(held), 3)):
            track = self._random.choice(self._tracks)
            mark = track.quote(0).mark
            spot = self._random.random() < 0.15
            notional = self._random.randint(500, 1_500) if spot else self._random.randint(2_000, 6_000)
            qty = track.spec.floor(Decimal(notional) / mark)
            side = "LONG" if spot or sides["LONG"] <= sides["SHORT"] else "SHORT"
            sides[side] += not spot
            leverage = Decimal(1) if spot else self._random.choice(LEVERAGES)
            market = "SPOT" if spot else "FUT"
            name = f"c{next(self._numbers)}-{market.lower()}"
            self._paper.open_position(name, track.symbol, side, qty, leverage, market)
            self.entered += 1
