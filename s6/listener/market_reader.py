"""Reads ``mkt:*`` and ``feat:events:*``: keeps the newest of each in Redis, and hints at what a tick crossed."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.engine.sweep import Sweep
from s6.listener.index import TriggerIndex
from s6.listener.streams import Entry, Lane, Streams, TailReader, lanes, leave_out_odd
from s6.model.market import Features, Tick
from s6.model.wire import FeatureMessage, MalformedMessage, TickMessage
from s6.ports import Alerts, BundleSource, Clock, Hints, Markets, PartUnavailable, StateUnavailable

log = logging.getLogger(__name__)
AGAIN_S: Final = 0.2
PASSING: Final = (RedisError, StateUnavailable, OSError)
"""What ends a round and passes; the entries are read again."""


class Crossing(NamedTuple):
    """The highest and lowest mark at which triggers of a position were crossed, and when they were read (ms)."""

    high: Decimal
    low: Decimal
    read_at: int


class _Reader(ABC):
    """Reads the streams of one prefix, round by round, each lane in a thread of its own."""

    def __init__(
        self,
        prefix: str,
        backlog: int,
        redis: RedisClient,
        bundles: BundleSource,
        alerts: Alerts,
        reader: Reader,
    ) -> None:
        self._prefix = prefix
        self._tail = TailReader(redis, backlog)
        self._streams = {lane: Streams(redis, prefix, lane) for lane in lanes(redis)}
        self._bundles = bundles
        self._alerts = alerts
        self._reader = reader

    def round(self, lane: Lane | None = None) -> float:
        """Read once and take what is new, waiting a little for some. Returns the pause before the next round, in s."""
        streams, names = self._streams[lane], list[str]()
        try:
            bundle = self._bundles.current()
            names = streams.names(bundle.symbols if bundle else ())
            self.catch_up(names)
            entries = self._tail.read(names)
            for stream in dict.fromkeys(e.stream for e in entries):
                self._take(stream, [e for e in entries if e.stream == stream])
            for stream, answer in self.answers(names).items():
                self._take(stream, [answer])
        except PASSING as error:
            log.warning("%s* waits for Redis: %s", self._prefix, error)
            leave_out_odd(streams, self._alerts, error)
            self._tail.forget(names)
            return AGAIN_S
        return 0.0

    def catch_up(self, names: list[str]) -> None:  # noqa: B027 - most have nothing that waits
        """Do what could not be done for these streams in former rounds. Raises ``StateUnavailable``."""

    def answers(self, names: list[str]) -> dict[str, Entry]:
        """Return what has come for these streams by another way, each once; usually nothing does."""
        return {}

    @abstractmethod
    def take(self, symbol: str, entries: list[Entry]) -> None:
        """Handle a symbol's new entries, in their order. Raises ``StateUnavailable``."""

    def _take(self, stream: str, entries: list[Entry]) -> None:
        """Handle one stream; what goes wrong with it doesn't stop the others."""
        try:
            self.take(stream.removeprefix(self._prefix), entries)
        except PartUnavailable as error:
            log.warning("%s waits for Redis: %s", stream, error)
            self._tail.forget([stream])
        except PASSING:
            raise
        except Exception as error:
            log.exception("%s could not be handled", stream)
            self._alerts.raise_alert("ERROR", "READER_FAULT", f"{stream}: {_named(error)}", scope=stream)

    def each(self, entries: list[Entry], handle: Callable[[Entry], None]) -> None:
        """Handle entry after entry; what cannot be handled goes to the dead letters. Raises ``StateUnavailable``."""
        for entry in entries:
            try:
                handle(entry)
            except MalformedMessage as error:
                self._alerts.dead_letter(entry.stream, entry.entry_id, str(error), entry.fields)
            except PASSING:
                raise
            except Exception as error:
                log.exception("%s %s could not be handled", entry.stream, entry.entry_id)
                self._alerts.dead_letter(entry.stream, entry.entry_id, _named(error), entry.fields)
                where = f"{entry.stream} {entry.entry_id}"
                self._alerts.raise_alert("ERROR", "READER_FAULT", f"{where}: {_named(error)}", scope=entry.stream)


class MarketReader(_Reader):
    def __init__(
        self,
        redis: RedisClient,
        state: Markets,
        index: TriggerIndex,
        hints: Hints,
        bundles: BundleSource,
        alerts: Alerts,
        clock: Clock,
        reader: Reader,
    ) -> None:
        super().__init__(keys.TICKS, 1, redis, bundles, alerts, reader)
        self._state = state
        self._index = index
        self._hints = hints
        self._clock = clock
        self._newest: dict[str, Tick] = {}
        self._streamed: dict[str, int] = {}
        self._answers: dict[str, Mapping[str, str]] = {}
        #: By symbol and position: crossings that are not recorded yet.
        self._crossed: dict[str, dict[str, Crossing]] = {}

    def answered(self, symbol: str, fields: Mapping[str, str]) -> None:
        """Have S1's answer about a market taken like an entry of its stream, in this round or the next.

        Any thread may call it.
        """
        self._answers[symbol] = fields

    def streamed_ts(self, symbol: str) -> int | None:
        """Return the ``ts`` (ms) of the newest tick that the stream brought, or None before the first."""
        return self._streamed.get(symbol)

    def answers(self, names: list[str]) -> dict[str, Entry]:
        found = {}
        for symbol in list(self._answers):
            stream = f"{self._prefix}{symbol}"
            if stream in names:
                found[stream] = Entry(f"GET /market/{symbol}", "", dict(self._answers.pop(symbol)))
        return found

    def take(self, symbol: str, entries: list[Entry]) -> None:
        """Take ticks in order; late ones change nothing. A crossing is recorded before its position is hinted at.

        What cannot be recorded now is recorded in a later round.
        """
        read_at = self._clock.now_ms()
        known = self._newest.get(symbol) or self._state.market(symbol).tick  # a former process may have read it
        newest = known
        crossed: dict[str, list[Decimal]] = {}

        def handle(entry: Entry) -> None:
            nonlocal newest
            tick = self._reader.read(TickMessage, entry.fields).tick()
            if entry.stream.startswith(self._prefix):
                self._streamed[symbol] = tick.ts
            elif entry.fields.get("symbol", symbol) != symbol:
                raise MalformedMessage(f"symbol: must be {symbol}")
            if newest is not None and tick.ts < newest.ts <= self._reader.latest_ts():
                return
            for name in sorted(self._index.crossed(symbol, newest.mark if newest else None, tick.mark, read_at)):
                crossed.setdefault(name, []).append(tick.mark)
            newest = tick

        self.each(entries, handle)
        if newest is None or newest == known:
            return
        self._state.put_tick(symbol, newest)
        self._newest[symbol] = newest
        unrecorded = self._crossed.setdefault(symbol, {})
        for name, marks in crossed.items():
            before = unrecorded.get(name)
            marks += [before.high, before.low] if before else []
            unrecorded[name] = Crossing(max(marks), min(marks), read_at)
        self._record(unrecorded)
        if unrecorded:
            log.warning("crossings of %s positions in %s wait for Redis", len(unrecorded), symbol)

    def catch_up(self, names: list[str]) -> None:
        for symbol, unrecorded in list(self._crossed.items()):
            if unrecorded and f"{self._prefix}{symbol}" in names:
                self._record(unrecorded)

    def _record(self, unrecorded: dict[str, Crossing]) -> None:
        for name, crossing in list(unrecorded.items()):
            try:
                for mark in sorted({crossing.high, crossing.low}):
                    self._state.put_crossing(name, mark, crossing.read_at)
            except PartUnavailable:
                continue
            unrecorded.pop(name, None)
            self._hints.evaluate(name)


class FeatureReader(_Reader):
    BACKLOG: Final = 200

    def __init__(
        self,
        redis: RedisClient,
        state: Markets,
        sweep: Sweep,
        bundles: BundleSource,
        alerts: Alerts,
        reader: Reader,
    ) -> None:
        super().__init__(keys.FEATURES, self.BACKLOG, redis, bundles, alerts, reader)
        self._state = state
        self._sweep = sweep
        self._known: dict[str, Features] = {}

    def take(self, symbol: str, entries: list[Entry]) -> None:
        """Fold in new features. A new signal, ATR or regime may change every position of the symbol."""
        known = self._known.get(symbol) or self._state.market(symbol).features
        features = known

        def handle(entry: Entry) -> None:
            nonlocal features
            message = self._reader.read(FeatureMessage, entry.fields)
            latest = self._reader.latest_ts()
            if max(features.ts, features.signal_ts) > latest:
                features = replace(features, ts=0, signal_ts=0)
            features = message.fold(features)

        self.each(entries, handle)
        if features == known:
            return
        self._state.put_features(symbol, features)
        self._known[symbol] = features
        if features.regime != known.regime:
            self._note_regime(symbol, features.regime)
        self._sweep.screen(symbol)

    def _note_regime(self, symbol: str, regime: str) -> None:
        bundle = self._bundles.current()
        if bundle is not None and not bundle.knows_regime(symbol, regime):
            text = f"regime {regime!r} of {symbol} is not in bundle {bundle.version}: the default one applies"
            self._alerts.raise_alert("WARN", "REGIME_UNKNOWN", text, scope=symbol)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
