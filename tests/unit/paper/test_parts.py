"""JSON, the ledger, the timer, the wallet, the bundle's shelf and the settings."""

import json
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from s6.model.jsonx import dumps, loads
from s6.model.types import plain
from s6.paper.bundle import SPECS, BundleShelf, paper_bundle
from s6.paper.config import PaperConfig, parse
from s6.paper.faults import Faults, Step
from s6.paper.ledger import Ledger
from s6.paper.requests import TransferRequest
from s6.paper.timer import Timer
from s6.paper.wallet import Wallet


@pytest.mark.parametrize(
    ("number", "text"),
    [("0.10", "0.1"), ("1E+3", "1000"), ("-0", "0"), ("0.00000001", "0.00000001"), ("100", "100"), ("1.0", "1")],
)
def test_decimals_are_written_plainly(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


def test_json_keeps_every_digit_both_ways() -> None:
    exact = "12345678901234567890.123456789012345678901234567"
    assert dumps(loads(f'{{"a": [{exact}, "x", null, true]}}')) == f'{{"a":[{exact},"x",null,true]}}'
    with pytest.raises(TypeError, match="float"):
        dumps({"a": 0.1})
    with pytest.raises(ValueError, match="NaN"):
        loads("[NaN]")


def test_the_ledger_counts_and_selects() -> None:
    ledger = Ledger(limit=3)
    for number in range(5):
        ledger.add("even" if number % 2 == 0 else "odd", {"number": number})
    assert [r["n"] for r in ledger.records()] == [3, 4, 5]
    assert [r["number"] for r in ledger.records(what="even")] == [2, 4]
    assert [r["n"] for r in ledger.records(since=4)] == [5]
    assert ledger.records(since=5) == []


def broken() -> None:
    raise RuntimeError("planted")


def test_the_timer_keeps_the_order_of_due_times_and_survives_a_bad_callback() -> None:
    timer, done, seen = Timer(), threading.Event(), []
    timer.after(30, done.set)
    timer.after(20, lambda: seen.append("late"))
    timer.after(0, broken)
    timer.after(1, lambda: seen.append("early"))
    assert done.wait(3)
    assert seen == ["early", "late"]
    timer.stop()


def transfer(transfer_id: str, amount: str) -> TransferRequest:
    body = {"transfer_id": transfer_id, "from": "SPOT", "to": "FUT", "asset": "USDT", "amount": amount}
    return TransferRequest.model_validate(body)


def test_money_moves_once_a_transfer_id() -> None:
    faults, ledger = Faults(), Ledger()
    wallet = Wallet(Decimal(100), Decimal(0), ledger=ledger, faults=faults)
    first = wallet.transfer(transfer("t1", "60"), "t1")
    assert wallet.transfer(transfer("t1", "60.0"), "t1") == first
    assert wallet.transfer(transfer("t1", "50"), "t1").status == 409
    assert wallet.transfer(transfer("t2", "1"), None).status == 422
    poor = wallet.transfer(transfer("t3", "41"), "t3").body
    assert isinstance(poor, dict) and (poor["status"], poor["reason"]) == ("FAILED", "INSUFFICIENT_FUNDS")
    faults.script("transfer", Step(action="fail", reason="MAINTENANCE"))
    failed = wallet.transfer(transfer("t4", "1"), "t4").body
    assert isinstance(failed, dict) and failed["reason"] == "MAINTENANCE"
    balances = wallet.balances().body
    assert isinstance(balances, dict)
    assert (balances["SPOT"], balances["FUT"]) == ({"free": 40}, {"free": 60})
    assert [r["status"] for r in ledger.records(what="transfer")] == ["EXECUTED", "FAILED", "FAILED"]


def test_the_bundle_is_served_by_etag() -> None:
    shelf = BundleShelf(paper_bundle(SPECS))
    fresh = shelf.answer(None)
    etag = dict(fresh.headers)["ETag"]
    assert fresh.status == 200 and json.loads(fresh.raw or "")["version"] == "paper-1"
    assert shelf.answer(f'"x", {etag}').status == 304
    shelf.put("not json")
    assert shelf.answer(etag).raw == "not json"
    assert shelf.version == "?"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--speed", "0"], "speed: 0.0 is not allowed"),
        (["--symbols", "btc"], "symbols: btc is not allowed"),
        (["--candles", "/nowhere.csv"], "candles: /nowhere.csv is not allowed"),
        (["--market", "candles"], "candles: none is not allowed"),
        (["--port", "70000"], "port: 70000 is not allowed"),
        (["--auto-approve-s", "1"], "auto-approve-s: 1.0 is not allowed"),
        (["--fee-rate", "x"], "'x' is not a number"),
    ],
)
def test_bad_settings_end_with_one_clear_line(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    assert complaint in capsys.readouterr().err


def test_candles_choose_the_market_and_its_symbols(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.touch()
    config = parse(["--candles", str(path)])
    assert (config.market, config.symbols, config.candles) == ("candles", ("BTCUSDT",), (("BTCUSDT", path),))
    config = parse(["--candles", f"ETHUSDT={path}", "--no-strategy"])
    assert (config.symbols, config.strategy) == (("ETHUSDT",), False)
    assert parse([]) == PaperConfig()
