"""Candles, features, the walk, and the strategy on a market that a test plays."""

from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path

import pytest

from s6.paper.bundle import SPECS, BundleShelf, paper_bundle
from s6.paper.candles import Candle, CandleError, endless, read_candles
from s6.paper.config import PaperConfig
from s6.paper.domain import Quote
from s6.paper.features import FeatureMaker
from s6.paper.market import Track, source_for
from s6.paper.strategy import Strategy
from s6.paper.walk import random_walk
from tests.unit.paper.floor import Floor

HEADED = "timestamp,open,high,low,close,volume\n"
KLINE = "{ts},42000.1,42010.5,41990.0,42005.2,12.5,{end},525000.0,100,6.1,256000.0,0\n"
MINUTE = 60_000


def candle(ts: int, *prices: str) -> Candle:
    return Candle(ts, *(Decimal(price) for price in prices))


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "candles.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        HEADED + "1640991660000,42000.1,42010.5,41990.0,42005.2,9\n1640991720000,42005.2,42006,42000,42001,8\n",
        "volume,close,low,high,open,timestamp\n9,42005.2,41990.0,42010.5,42000.1,1640991660000\n"
        "8,42001,42000,42006,42005.2,1640991720000\n",
        KLINE.format(ts=1640991660000, end=1640991719999) + KLINE.format(ts=1640991720000, end=1),
        KLINE.format(ts=1640991660000000, end=1) + KLINE.format(ts=1640991720000000, end=1),
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,tbv,tbq,ignore\n\n"
        + KLINE.format(ts=1640991660000, end=1)
        + KLINE.format(ts=1640991720000, end=1),
    ],
)
def test_both_forms_of_files_read_alike(tmp_path: Path, text: str) -> None:
    candles = read_candles(written(tmp_path, text))
    assert candles[0] == candle(1640991660000, "42000.1", "42010.5", "41990.0", "42005.2")
    assert candles[1].ts == 1640991720000


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "two candles"),
        (HEADED, "two candles"),
        ("1640991660000,1,1,1,1,1\n", "a header or the twelve columns"),
        ("timestamp,open,high,low\n1640991660000,1,1,1\n", "the header lacks close, volume"),
        (HEADED + "1640991660000,1,1,1\n", "line 2: 4 columns only"),
        (HEADED + "1640991660,1,1,1,1,1\n", "line 2: '1640991660' is no time"),
        (HEADED + "1640991660000,1,2,x,1,1\n", "line 2: low 'x' is not a number"),
        (HEADED + "1640991660000,1,2,0,1,1\n", "line 2: low '0' is not above 0"),
        (HEADED + "1640991660000,1,NaN,1,1,1\n", "line 2: high 'NaN' is not above 0"),
        (HEADED + "1640991660000,3,2,1,2,1\n", "line 2: open and close do not lie between"),
        (HEADED + "1640991660000,1,2,1,1,1\n\n1640991660000,1,2,1,1,1\n", "line 4: its time is not after"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(CandleError, match=complaint) as error:
        read_candles(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("shape", "thirds"),
    [
        (candle(0, "10", "14", "7", "13"), ["10", "7", "14", "13"]),
        (candle(0, "13", "14", "7", "10"), ["13", "14", "7", "10"]),
    ],
)
def test_a_candle_is_a_path_through_its_four_prices(shape: Candle, thirds: list[str]) -> None:
    assert [round(shape.price_at(n / 3), 9) for n in range(4)] == [Decimal(price) for price in thirds]
    steps = [shape.price_at(n / 100) for n in range(101)]
    assert min(steps) >= shape.low and max(steps) <= shape.high


def test_a_file_goes_on_for_ever_without_a_jump() -> None:
    lap = [candle(MINUTE, "10", "11", "10", "11"), candle(2 * MINUTE, "11", "20", "11", "20")]
    played = list(islice(endless(lap), 5))
    assert [c.ts for c in played] == [n * MINUTE for n in range(1, 6)]
    assert [c.open for c in played] == [10, 11, 20, 22, 40]


def test_the_walk_is_seeded_connected_and_lively() -> None:
    first = list(islice(random_walk("BTCUSDT", 7), 600))
    assert first == list(islice(random_walk("BTCUSDT", 7), 600))
    assert first != list(islice(random_walk("ETHUSDT", 7), 600))
    assert all(a.close == b.open for a, b in pairwise(first))
    assert all(c.low <= min(c.open, c.close) <= max(c.open, c.close) <= c.high for c in first)
    ranges = [(c.high - c.low) / c.close for c in first]
    assert Decimal("0.0005") < sum(ranges) / len(ranges) < Decimal("0.005")


def test_the_range_is_wilders_and_the_regime_a_tercile() -> None:
    maker = FeatureMaker()
    calm = [maker.take(candle(n, "100", "101", "99", "100")) for n in range(50)]
    assert calm[-1].atr == 2 and calm[-1].signal == "NONE"
    wild = maker.take(candle(51, "100", "120", "100", "120"))
    assert wild.atr == round(Decimal(2 * 13 + 20) / 14, 8)
    assert (wild.regime, wild.signal) == ("HIGH", "LONG")
    fallen = maker.take(candle(52, "120", "120", "60", "60"))
    assert fallen.signal == "SHORT"


def test_ticks_follow_the_candles_whatever_the_speed() -> None:
    track = Track.begin("BTCUSDT", SPECS["BTCUSDT"], PaperConfig())
    closes = sum(track.advance(12_000) is not None for _ in range(50))
    assert closes == 10
    quote = track.quote(1)
    assert quote.mark % Decimal("0.1") == 0
    assert (quote.mark - quote.bid, quote.ask - quote.mark) == (Decimal("0.1"), Decimal("0.1"))
    assert track.advance(150_000) is not None


def test_a_symbol_with_a_file_plays_it(tmp_path: Path) -> None:
    path = written(tmp_path, HEADED + "1640991660000,5,5,5,5,1\n1640991720000,5,6,5,6,1\n")
    config = PaperConfig(market="candles", symbols=("BTCUSDT",), candles=(("BTCUSDT", path),))
    assert next(source_for("BTCUSDT", config)[1]).open == 5


def test_the_strategy_keeps_both_sides_and_spot_open(floor: Floor) -> None:
    specs = {"BTCUSDT": SPECS["BTCUSDT"]}
    shelf = BundleShelf(paper_bundle(specs))
    strategy = Strategy(
        count=5,
        seed=1,
        run="r",
        specs=specs,
        exchange=floor.exchange,
        entries=floor.entries,
        wallet=floor.wallet,
        shelf=shelf,
    )
    assert strategy.step() is None
    price = Decimal(40_000)
    floor.exchange.tick("BTCUSDT", Quote(price, price, price, price, 1))
    entered = [strategy.step() for _ in range(5)]
    assert strategy.step() is None
    found = sorted((order.market, order.side) for order in entered if order)
    assert found == [("FUT", "LONG"), ("FUT", "LONG"), ("FUT", "SHORT"), ("FUT", "SHORT"), ("SPOT", "LONG")]
    floor.exchange.close(entered[1].position_id if entered[1] else "")
    assert strategy.step() is not None
