"""What a listener makes of ticks and features, the first ones after its start among them."""

from __future__ import annotations

from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

from s6.adapters.clock import SystemClock
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.listener.index import TriggerIndex
from s6.listener.market_reader import FeatureReader, MarketReader
from s6.listener.streams import Entry
from s6.model.market import Features, MarketView, Tick
from s6.ports import PartUnavailable
from tests.support.doubles import MemoryAlerts
from tests.support.waiting import wait_for
from tests.unit.given import NOW, bundle, stopped


class NoBundle:
    latest = None


class Notes(list[tuple[Any, ...]]):
    """Writes down every call made of it, as any part of the services."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def called(*args: Any, **_: Any) -> Any:
            self.append((name, *args))
            return self._answers.get(name)

        return called

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self if call[0] == name]


def tick_entry(mark: str, ts: int) -> Entry:
    return Entry("mkt:BTCUSDT", f"{ts}-0", {"ts": str(ts), "mark": mark, "bid": mark, "ask": mark})


def reader(state: Notes, hints: Notes, alerts: Any = None) -> MarketReader:
    rules: Any = SimpleNamespace(current=bundle)
    clock: Any = SimpleNamespace(now_ms=lambda: NOW)
    index = TriggerIndex()
    index.put(stopped(39000), bundle(), Features())
    parts: Any = (None, state, index, hints, rules, alerts or Notes(), clock, Reader(clock, NoBundle()))
    return MarketReader(*parts)


def feature_reader(state: Notes, sweep: Notes, alerts: Any) -> FeatureReader:
    clock: Any = SimpleNamespace(now_ms=lambda: NOW)
    parts: Any = (None, state, sweep, SimpleNamespace(current=bundle), alerts, Reader(clock, NoBundle()))
    return FeatureReader(*parts)


def test_what_was_crossed_while_no_listener_ran_is_seen_by_the_first_tick() -> None:
    before = Tick(NOW - 5000, D(40000), D(40000), D(40000))
    state, hints = Notes(market=MarketView("BTCUSDT", before)), Notes()
    ticks = reader(state, hints)
    ticks.take("BTCUSDT", [tick_entry("38000", NOW - 6000)])
    assert (state.of("put_tick"), hints) == ([], [])
    ticks.take("BTCUSDT", [tick_entry("38900", NOW - 1000)])
    assert [tick.mark for _, tick in state.of("put_tick")] == [D(38900)]
    assert hints.of("evaluate") == [("p1",)]


def test_the_first_tick_ever_crosses_nothing() -> None:
    state, hints = Notes(market=MarketView("BTCUSDT")), Notes()
    reader(state, hints).take("BTCUSDT", [tick_entry("38900", NOW)])
    assert len(state.of("put_tick")) == 1
    assert not hints


def test_crossings_that_cannot_be_recorded_hold_up_nothing_and_are_recorded_later() -> None:
    state, hints = Notes(market=MarketView("BTCUSDT", Tick(NOW - 9000, D(40000), D(40000), D(40000)))), Notes()
    ticks, recorded, away = reader(state, hints), list[tuple[Any, ...]](), True

    def put_crossing(*crossing: Any) -> None:
        if away:
            raise PartUnavailable("its node hangs")
        recorded.append(crossing)

    state.put_crossing = put_crossing  # type: ignore[attr-defined]
    ticks.take("BTCUSDT", [tick_entry("38900", NOW - 3000)])
    ticks.take("BTCUSDT", [tick_entry("39100", NOW - 2000), tick_entry("38800", NOW - 1000)])
    ticks.catch_up(["mkt:BTCUSDT"])
    assert [tick.mark for _, tick in state.of("put_tick")] == [D(38900), D(38800)]
    assert hints == []
    away = False
    ticks.catch_up(["mkt:ETHUSDT"])
    assert recorded == []
    ticks.catch_up(["mkt:BTCUSDT"])
    ticks.catch_up(["mkt:BTCUSDT"])
    assert recorded == [("p1", D(38800), NOW), ("p1", D(39100), NOW)]
    assert hints.of("evaluate") == [("p1",)]


def test_a_regime_that_the_bundle_does_not_know_is_told_of() -> None:
    state, alerts, sweep = Notes(market=MarketView("BTCUSDT")), Notes(), Notes()
    features = feature_reader(state, sweep, alerts)
    for number, regime in enumerate(("NORMAL", "WILD", "WILD", "HIGH")):
        told = {"ts": str(NOW + number - 10), "atr": "10", "regime": regime}
        features.take("BTCUSDT", [Entry("feat:events:BTCUSDT", f"{number}-1", told)])
    assert [(severity, code) for severity, code, _ in alerts.of("raise_alert")] == [("WARN", "REGIME_UNKNOWN")]
    assert len(sweep.of("screen")) == 4


def test_a_tick_from_the_future_goes_to_the_dead_letters_and_true_ones_count() -> None:
    state, hints, alerts = Notes(market=MarketView("BTCUSDT")), Notes(), MemoryAlerts()
    ticks = reader(state, hints, alerts)
    ticks.take("BTCUSDT", [tick_entry("1", NOW + 3_600_000), tick_entry("39500", NOW + 5_000)])
    ticks.take("BTCUSDT", [tick_entry("38900", NOW + 5_000)])
    assert [(source, entry_id) for source, entry_id, _, _ in alerts.letters] == [
        ("mkt:BTCUSDT", f"{NOW + 3_600_000}-0")
    ]
    assert [tick.mark for _, tick in state.of("put_tick")] == [D(39500), D(38900)]
    assert hints.of("evaluate") == [("p1",)]


def test_a_signal_from_the_future_goes_to_the_dead_letters_and_true_ones_count() -> None:
    state, alerts = Notes(market=MarketView("BTCUSDT")), MemoryAlerts()
    features = feature_reader(state, Notes(), alerts)
    told = {"atr": "10", "regime": "NORMAL", "signal": "LONG"}
    ahead = [(NOW + 3_600_000, "s-ahead"), (NOW + 5_001, "s-near"), (NOW - 1, "s-true")]
    for ts, name in ahead:
        features.take("BTCUSDT", [Entry("feat:events:BTCUSDT", name, {**told, "ts": str(ts), "signal_id": name})])
    assert [letter[1] for letter in alerts.letters] == ["s-ahead", "s-near"]
    assert [(found.signal_id, found.signal_ts) for _, found in state.of("put_features")] == [("s-true", NOW - 1)]


def test_what_the_clock_left_ahead_when_it_was_set_back_gives_way() -> None:
    ahead = Tick(NOW + 3_600_000, D(40000), D(40000), D(40000))
    known = Features(ts=NOW + 3_600_000, atr=D(1), regime="HIGH", signal="LONG", signal_ts=NOW + 3_600_000)
    state, hints = Notes(market=MarketView("BTCUSDT", ahead, known)), Notes()
    reader(state, hints).take("BTCUSDT", [tick_entry("38900", NOW)])
    assert [tick.ts for _, tick in state.of("put_tick")] == [NOW]
    features = feature_reader(state, Notes(), MemoryAlerts())
    features.take("BTCUSDT", [Entry("feat:events:BTCUSDT", "1-1", {"ts": str(NOW), "atr": "5", "regime": "LOW"})])
    [(_, folded)] = state.of("put_features")
    assert (folded.ts, folded.atr, folded.regime, folded.signal_ts) == (NOW, D(5), "LOW", 0)


def test_an_entry_that_nobody_foresaw_is_put_aside_and_the_next_is_handled() -> None:
    state, hints, alerts = Notes(market=MarketView("BTCUSDT")), Notes(), MemoryAlerts()
    ticks = reader(state, hints, alerts)
    crossed = ticks._index.crossed

    def fragile(symbol: str, before: D | None, mark: D, at: int = 0) -> set[str]:
        if mark == 1:
            raise ZeroDivisionError("odd")
        return crossed(symbol, before, mark, at)

    ticks._index.crossed = fragile  # type: ignore[method-assign]
    ticks.take("BTCUSDT", [tick_entry("1", NOW), tick_entry("39500", NOW), tick_entry("38900", NOW)])
    assert [letter[2] for letter in alerts.letters] == ["ZeroDivisionError: odd"]
    assert [alert[:2] for alert in alerts.raised] == [("ERROR", "READER_FAULT")]
    assert hints.of("evaluate") == [("p1",)]


def test_one_stream_that_fails_or_is_none_never_stops_the_others(redis_client: RedisClient) -> None:
    clock, alerts = SystemClock(), MemoryAlerts()
    state = RedisState(redis_client, clock)
    redis_client.sadd("s6:symbols", "BAD", "BTCUSDT")
    redis_client.set("mkt:BAD", "no stream")
    redis_client.xadd(b"mkt:\xff", {"a": "b"})
    rules: Any = SimpleNamespace(current=bundle, latest=None)
    ticks = MarketReader(redis_client, state, TriggerIndex(), Notes(), rules, alerts, clock, Reader(clock, rules))

    def seen() -> bool:
        now = str(clock.now_ms())
        redis_client.xadd("mkt:BTCUSDT", {"ts": now, "mark": "40000", "bid": b"\xff"})
        redis_client.xadd("mkt:BTCUSDT", {"ts": now, "mark": "40000"})
        ticks.round()
        return state.market("BTCUSDT").tick is not None

    wait_for(seen, 10)
    assert ("ERROR", "READER_FAULT", "mkt:BAD is no stream and is not read", "") in alerts.raised
    assert {letter[0] for letter in alerts.letters} == {"mkt:BTCUSDT"}
