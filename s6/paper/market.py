"""Plays candles as ticks, and publishes features as candles close."""

import logging
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import chain, islice

from pydantic import TypeAdapter

from s6.paper.bus import Bus
from s6.paper.candles import Candle, endless, read_candles
from s6.paper.config import PaperConfig
from s6.paper.domain import Quote, SymbolSpec
from s6.paper.exchange import Exchange
from s6.paper.features import FeatureMaker, Features
from s6.paper.ledger import now_ms
from s6.paper.vault import Vault
from s6.paper.walk import random_walk

log = logging.getLogger(__name__)

_CANDLE_MS = 60_000
_WARM_UP = 60  # candles that only the features see, so that they have settled before the first tick
_FEATURE_S = 1.0
_SIGNAL_S = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a symbol's market: the number of candles played of `source`, and the price then."""

    source: str
    played: int
    price: Decimal


def source_for(symbol: str, config: PaperConfig, before: Progress | None = None) -> tuple[str, Iterator[Candle]]:
    """Return the name and the endless candles of one symbol: from its file, or a random walk.

    They continue from `before` if possible. Raises `CandleError`, `OSError`.
    """
    files = dict(config.candles)
    if config.market == "candles" and symbol in files:
        name, candles = str(files[symbol].resolve()), endless(read_candles(files[symbol]))
        done = max(0, before.played - _WARM_UP) if before and before.source == name else 0
        return name, islice(candles, done, None)
    if before and before.source == "walk":
        return "walk", _walk_on(symbol, f"{config.seed}:{before.played}", before.price)
    return "walk", random_walk(symbol, config.seed)


def _walk_on(symbol: str, seed: str, price: Decimal) -> Iterator[Candle]:
    """Return another walk, at a level such that its price is `price` after the warm-up."""
    walk = random_walk(symbol, seed)
    warm_up = list(islice(walk, _WARM_UP))
    factor = price / warm_up[-1].close
    return (candle.scaled(factor, candle.ts) for candle in chain(warm_up, walk))


@dataclass(slots=True)
class Track:
    """One symbol's way through its candles: it has played `played` of them, and `passed` ms of the current one."""

    symbol: str
    spec: SymbolSpec
    source: str
    candles: Iterator[Candle]
    candle: Candle
    features: FeatureMaker = field(default_factory=FeatureMaker)
    played: int = 0
    passed: float = 0.0
    published_at: float = 0.0
    signalled_at: float = 0.0
    signals: int = 0

    @classmethod
    def begin(cls, symbol: str, spec: SymbolSpec, config: PaperConfig, before: Progress | None = None) -> "Track":
        """Warm the features up with some candles. Returns the track at the beginning of the next candle."""
        source, candles = source_for(symbol, config, before)
        features = FeatureMaker()
        for candle in islice(candles, _WARM_UP):
            features.take(candle)
        played = max(before.played, _WARM_UP) if before and before.source == source else _WARM_UP
        return cls(symbol, spec, source, candles, next(candles), features, played)

    def advance(self, market_ms: float) -> Features | None:
        """Play `market_ms` of market time. Returns the features of the last candle that closed, or None."""
        self.passed += market_ms
        closed: Features | None = None
        while self.passed >= _CANDLE_MS:
            self.passed -= _CANDLE_MS
            self.played += 1
            closed = self.features.take(self.candle)
            self.candle = next(self.candles)
        return closed

    def quote(self, ts: int) -> Quote:
        """Return the current market: the mark on the tick, with one tick of spread to either side."""
        price, tick = self.candle.price_at(self.passed / _CANDLE_MS), self.spec.tick
        mark = max(2 * tick, (price / tick).to_integral_value(rounding=ROUND_HALF_EVEN) * tick)
        return Quote(mark, mark - tick, mark + tick, mark, ts)


_PROGRESS = TypeAdapter(tuple[str, Progress])


class MarketRun:
    """A thread that ticks every `tick_ms`. It skips the ticks that a stopped machine missed."""

    def __init__(
        self, config: PaperConfig, specs: Mapping[str, SymbolSpec], exchange: Exchange, bus: Bus, vault: Vault
    ) -> None:
        self._config, self._exchange, self._bus, self._vault = config, exchange, bus, vault
        before = dict(_PROGRESS.validate_json(text) for text in vault.all("progress"))
        self._tracks = [Track.begin(s, specs[s], config, before.get(s)) for s in config.symbols]
        self._run = secrets.token_hex(3)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, name="paper-market", daemon=True)

    def start(self) -> None:
        """Quote every symbol at once, then start the thread."""
        for track in self._tracks:
            self._tick(track, 0.0)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread."""
        self._ended.set()
        self._thread.join(timeout=2)

    def _play(self) -> None:
        period = self._config.tick_ms / 1000
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due + period - time.monotonic())):
            due = max(due + period, time.monotonic() - period)
            for track in self._tracks:
                try:
                    self._tick(track, self._config.tick_ms * self._config.speed)
                except ArithmeticError:  # one symbol's bad price must not stop the others
                    log.exception("a tick of %s failed", track.symbol)

    def _tick(self, track: Track, market_ms: float) -> None:
        closed = track.advance(market_ms)
        quote = track.quote(now_ms())
        self._exchange.tick(track.symbol, quote)
        self._bus.tick(track.symbol, quote)
        if closed is not None:
            progress = (track.symbol, Progress(track.source, track.played, quote.mark))
            self._vault.keep("progress", track.symbol, _PROGRESS.dump_json(progress).decode())
            self._publish(track, closed)

    def _publish(self, track: Track, features: Features) -> None:
        """Publish features, at most once a second, with a signal of a new id every few seconds."""
        now = time.monotonic()
        if now - track.published_at < _FEATURE_S:
            return
        track.published_at = now
        members: dict[str, object] = {"atr": features.atr, "regime": features.regime}
        if now - track.signalled_at >= _SIGNAL_S:
            track.signalled_at = now
            track.signals += 1
            signal_id = f"{track.symbol}-{self._run}-{track.signals}"
            members |= {"signal": features.signal, "signal_id": signal_id}
        self._bus.feature(track.symbol, {"signal": None, "signal_id": None} | members)
