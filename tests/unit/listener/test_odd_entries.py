"""Whatever stands on a stream, a channel, a key or in an answer: nothing escapes, and what follows is handled."""

from __future__ import annotations

import random
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s6.adapters.http import Answer
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.adapters.rests import Rests
from s6.adapters.s4 import S4Orders
from s6.alerts.log import AlertLog
from s6.listener.index import TriggerIndex
from s6.listener.market_reader import FeatureReader, MarketReader
from s6.listener.results_consumer import ResultsConsumer
from s6.listener.sequencer import Delivered
from s6.listener.streams import Entry
from s6.model import jsonx
from s6.model.bundle import ActiveBundle, BundleError, parse_bundle
from s6.model.wire import BundleEvent, HealthKey, MalformedMessage, Message
from s6.ports import NeighbourUnavailable
from tests.support.desk import Desk
from tests.support.doubles import ManualClock, MemoryAlerts, MemoryMetrics
from tests.unit.given import bundle

NOW = 1_700_000_000_000
FAULTS = {"READER_FAULT", "POISON_RESULT"}
TICK = {"ts": str(NOW), "mark": "40000", "bid": "39999.9", "ask": "40000.1", "last": "40000"}
FEATURE = {"ts": str(NOW), "atr": "100", "regime": "HIGH", "signal": "LONG", "signal_id": "s-1"}
RESULT = {
    "ts": str(NOW), "symbol": "BTCUSDT", "market": "FUT", "position_id": "odd", "client_order_id": "c-1",
    "intent_id": "i-1", "kind": "ENTRY", "side": "BUY", "type": "MARKET", "status": "FILLED", "qty": "0.1",
    "filled_qty": "0.1", "avg_price": "40000", "fee": "1", "leverage": "10", "isolated_margin_usdt": "400",
    "liq_price": "36000", "order_id": "7", "fee_qty": "0", "reason": "",
}  # fmt: skip
WORDS = ["", "0", "-0", "-1", "1e18", "1e19", "1e-19", "1e999999999", "NaN", "-Infinity", "1" * 70, "null", "[]", "{}"]
WORDS += [
    "BUY",
    "SELL",
    "SPOT",
    "FUT",
    "EXIT",
    "SL",
    "PARTIALLY_FILLED",
    "CANCELED",
    "EXPIRED_IN_MATCH",
    "STOP",
    "0.05",
]
WORDS += [str(NOW + 5_001), str(NOW - 1), str(10**16), "\x00", "１", "\ud800", "nan%s{}\n"]

texts = (
    st.sampled_from(WORDS)
    | st.text(max_size=20)
    | st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
    | st.just("x" * 100_000)
)


@st.composite
def odd(draw: st.DrawFn, valid: dict[str, str]) -> dict[str, str]:
    """A valid entry with some fields changed, taken out, exchanged or put in, in any order."""
    fields = dict(valid)
    for name in draw(st.lists(st.sampled_from(sorted(valid)), max_size=4)):
        fields[name] = draw(texts | st.sampled_from(sorted(valid.values())))
    for name in draw(st.lists(st.sampled_from(sorted(valid)), max_size=2)):
        fields.pop(name, None)
    fields |= draw(st.dictionaries(texts, texts, max_size=2))
    names = list(fields)
    random.Random(draw(st.integers(0, 9))).shuffle(names)
    return {name: fields[name] for name in names}


class NoBundle:
    latest = None


def entries(symbol: str, prefix: str, found: list[dict[str, str]]) -> list[Entry]:
    return [Entry(f"{prefix}{symbol}", f"{number}-1", fields) for number, fields in enumerate(found)]


@settings(max_examples=300)
@given(st.lists(odd(TICK), max_size=4))
def test_ticks(found: list[dict[str, str]]) -> None:
    desk = Desk(bundle())
    ticks = MarketReader(
        cast(RedisClient, desk.redis), desk.state, TriggerIndex(), desk.hints, desk.rules, desk.alerts, desk.clock,
        Reader(desk.clock, NoBundle()),
    )  # fmt: skip
    ticks._take("mkt:BTCUSDT", entries("BTCUSDT", "mkt:", found))
    desk.clock.now += 10_000
    ticks._take("mkt:BTCUSDT", entries("BTCUSDT", "mkt:", [TICK | {"ts": str(desk.clock.now), "mark": "41000"}]))
    tick = desk.state.market("BTCUSDT").tick
    assert tick is not None and (tick.ts, tick.mark) == (desk.clock.now, D(41000))
    assert not FAULTS & {code for _, code, _, _ in desk.alerts.raised}


@settings(max_examples=300)
@given(st.lists(odd(FEATURE), max_size=4))
def test_features(found: list[dict[str, str]]) -> None:
    desk = Desk(bundle())
    features = FeatureReader(
        cast(RedisClient, desk.redis), desk.state, desk.sweep, desk.rules, desk.alerts, Reader(desk.clock, NoBundle())
    )
    features._take("feat:events:BTCUSDT", entries("BTCUSDT", "feat:events:", found))
    desk.clock.now += 10_000
    after = FEATURE | {"ts": str(desk.clock.now), "atr": "7", "signal_id": "the next"}
    features._take("feat:events:BTCUSDT", entries("BTCUSDT", "feat:events:", [after]))
    known = desk.state.market("BTCUSDT").features
    assert (known.ts, known.atr, known.signal_id) == (desk.clock.now, D(7), "the next")
    assert not FAULTS & {code for _, code, _, _ in desk.alerts.raised}


@settings(max_examples=300)
@given(st.lists(odd(RESULT), max_size=5))
def test_results(found: list[dict[str, str]]) -> None:
    desk = Desk(bundle())
    reader = Reader(desk.clock, NoBundle())
    consumer = ResultsConsumer(cast(RedisClient, desk.redis), "c", desk.batch, desk.rules, desk.alerts, reader)
    handled: list[str] = []
    consumer._reader = cast(Any, SimpleNamespace(done=lambda entries: handled.extend(e.entry_id for e in entries)))
    fresh = RESULT | {"position_id": "fresh", "client_order_id": "c-2"}
    for entry in entries("BTCUSDT", "ord:result:", [*found, fresh]):
        assert consumer._handle([Delivered(entry, 10)]) == []
    assert handled == [f"{number}-1" for number in range(len(found) + 1)]
    born = desk.state.load("fresh")
    assert born is not None and (born.position.qty, born.position.side) == (D("0.1"), "LONG")
    assert not FAULTS & {code for _, code, _, _ in desk.alerts.raised}


def test_an_entry_against_an_open_position_names_it() -> None:
    desk = Desk(bundle())
    consumer = ResultsConsumer(
        cast(RedisClient, desk.redis), "c", desk.batch, desk.rules, desk.alerts, Reader(desk.clock, NoBundle())
    )
    consumer._reader = cast(Any, SimpleNamespace(done=lambda entries: None))
    against = RESULT | {"client_order_id": "c-2", "order_id": "8", "side": "SELL", "qty": "0.2", "filled_qty": "0.2"}
    for entry in entries("BTCUSDT", "ord:result:", [RESULT, against]):
        assert consumer._handle([Delivered(entry, 1)]) == []
    assert [letter[1] for letter in desk.alerts.letters] == ["1-1"]
    conflicts = [(severity, position) for severity, code, _, position in desk.alerts.raised if code == "SIDE_CONFLICT"]
    assert conflicts == [("ERROR", "odd")]
    held = desk.state.load("odd")
    assert held is not None and held.position.qty == D("0.1")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=odd(RESULT), text=texts)
def test_dead_letters_take_anything(redis_client: RedisClient, fields: dict[str, str], text: str) -> None:
    redis: Any = redis_client
    redis.flushdb()
    log = AlertLog(redis_client, ManualClock(), MemoryMetrics())
    log.dead_letter("ord:result:BTCUSDT", "1-0", text, fields)
    log.dead_letter("cfg:events", "", "odd", text)
    sources = [letter["source"] for _, letter in redis.xrange("s6:deadletter")]
    assert sources == ["ord:result:BTCUSDT", "cfg:events"]
    assert len(redis.xrange("s6:alerts")) == 2


odd_json = st.recursive(
    st.none() | st.booleans() | texts | st.integers() | st.sampled_from([10**19, -(10**30)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300)
@given(odd(RESULT), st.dictionaries(st.sampled_from(sorted(RESULT)), odd_json, max_size=3))
def test_answers_about_an_order(fields: dict[str, str], members: dict[str, Any]) -> None:
    alerts = MemoryAlerts()
    body = jsonx.dumps({**fields, **members}).encode()
    asked = SimpleNamespace(name="s4", call=lambda *_, **__: Answer(200, {}, body, jsonx.received(body)))
    desk = Desk(bundle())
    rests = Rests(cast(Any, desk.redis), alerts)
    s4 = S4Orders(cast(Any, asked), Reader(desk.clock, NoBundle()), alerts, rests)
    try:
        order = s4.query("c-1")
    except NeighbourUnavailable:
        assert [code for _, code, _, _ in alerts.raised] == ["ORDER_UNREADABLE"]
    else:
        assert order is not None and order.client_order_id == "c-1"


@settings(max_examples=300)
@given(odd({"version": "b-1", "status": "DOWN", "ts": str(NOW)}), st.binary(max_size=30), st.booleans(), odd_json)
def test_channels_and_keys(fields: dict[str, str], raw: bytes, is_raw: bool, member: Any) -> None:
    reader = Reader(Desk(bundle()).clock, NoBundle())
    document = jsonx.dumps({**fields, "ts": member})
    for text in (raw.decode("utf-8", "surrogateescape") if is_raw else document, document[: len(raw) * 3]):
        for kind in (BundleEvent, HealthKey):
            try:
                read: Message | None = reader.read_json(kind, text)
            except MalformedMessage:
                read = None
            assert read is None or isinstance(read, kind)


@settings(max_examples=200)
@given(st.binary(max_size=60), st.sampled_from(["fut", "symbols", "execution", "limits", "version"]), odd_json)
def test_bundles(raw: bytes, name: str, member: Any) -> None:
    whole = {"version": "b-1", "symbols": {"BTCUSDT": {"tick": "0.1", "step": "0.001", "min_qty": "1",
             "min_notional": "5", "mmr": "0.004"}}}  # fmt: skip
    for text in (raw, jsonx.dumps({**whole, name: member}), jsonx.dumps(whole)[: len(raw) * 3]):
        try:
            read: ActiveBundle | None = parse_bundle(text)
        except BundleError as error:
            read, faults = None, error.faults
        assert read is not None or faults
