"""What a listener makes of ticks and features, the first ones after its start among them."""

from __future__ import annotations

from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

from s6.listener.index import TriggerIndex
from s6.listener.market_reader import FeatureReader, MarketReader
from s6.listener.streams import Entry
from s6.model.market import Features, MarketView, Tick
from tests.unit.given import NOW, bundle, stopped


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


def reader(state: Notes, hints: Notes) -> MarketReader:
    rules: Any = SimpleNamespace(current=bundle)
    clock: Any = SimpleNamespace(now_ms=lambda: NOW)
    index = TriggerIndex()
    index.put(stopped(39000), bundle(), Features())
    parts: Any = (None, state, index, hints, rules, Notes(), clock)
    return MarketReader(*parts)


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


def test_a_regime_that_the_bundle_does_not_know_is_told_of() -> None:
    state, alerts, sweep = Notes(market=MarketView("BTCUSDT")), Notes(), Notes()
    rules: Any = SimpleNamespace(current=bundle)
    parts: Any = (None, state, sweep, rules, alerts)
    features = FeatureReader(*parts)
    for number, regime in enumerate(("NORMAL", "WILD", "WILD", "HIGH")):
        told = {"ts": str(NOW + number), "atr": "10", "regime": regime}
        features.take("BTCUSDT", [Entry("feat:events:BTCUSDT", f"{number}-1", told)])
    assert [(severity, code) for severity, code, _ in alerts.of("raise_alert")] == [("WARN", "REGIME_UNKNOWN")]
    assert len(sweep.of("screen")) == 4
