"""A restarted paper exchange goes on where the old one ended."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from s6.paper.bundle import SPECS
from s6.paper.config import PaperConfig
from s6.paper.domain import Quote
from s6.paper.exchange import Exchange
from s6.paper.faults import Faults
from s6.paper.ledger import Ledger
from s6.paper.market import Progress, Track, source_for
from s6.paper.timer import Timer
from s6.paper.vault import Vault
from s6.paper.wallet import Wallet
from tests.judge.judge import judge
from tests.unit.paper.floor import Clock, Floor, eventually
from tests.unit.paper.test_parts import transfer


@pytest.fixture
def reopened(tmp_path: Path) -> Iterator[Callable[[], Floor]]:
    """Opens the exchange's file, the second time as a process does that comes after another."""
    timer = Timer()
    vaults: list[Vault] = []

    def reopen() -> Floor:
        vaults.append(Vault(tmp_path / "state.db"))
        return floor_on(vaults[-1], timer)

    yield reopen
    timer.stop()
    for vault in vaults:
        vault.close()


def floor_on(vault: Vault, timer: Timer) -> Floor:
    ledger, faults = Ledger(), Faults(seed=1)
    wallet = Wallet(Decimal(1000), Decimal(1000), ledger=ledger, faults=faults, vault=vault)
    floor = Floor(ledger, faults, timer, wallet, Clock())
    floor.exchange = Exchange(
        SPECS,
        ledger=ledger,
        faults=faults,
        timer=timer,
        wallet=wallet,
        publish=lambda order, members: floor.results.append(members),
        quota=lambda *members: floor.quotas.append(members),
        vault=vault,
        clock=floor.clock,
    )
    floor.entries._exchange = floor.exchange
    return floor


def test_orders_positions_and_money_outlive_a_restart(reopened: Callable[[], Floor]) -> None:
    before = reopened()
    before.tick("40000")
    before.enter("p", "LONG", "0.3", leverage="7")
    placed = before.stop("s1", "SELL", "0.3", "39900")
    before.faults.merge({"exchange": {"fill_delay_ms": 60_000}})
    before.order("t1", "TP", "SELL", "0.1")
    moved = before.wallet.transfer(transfer("t1", "60"), "t1")
    free = before.wallet.balances().body

    after = reopened()
    assert after.exchange.positions() == before.exchange.positions()
    assert after.exchange.orders() == before.exchange.orders()
    assert after.stop("s1", "SELL", "0.3", "39900") == placed
    assert after.stop("s1", "SELL", "0.3", "39800").status == 409
    assert after.wallet.transfer(transfer("t1", "60"), "t1") == moved
    now_free = after.wallet.balances().body
    assert isinstance(free, dict) and isinstance(now_free, dict)
    assert (now_free["SPOT"], now_free["FUT"]) == (free["SPOT"], free["FUT"])
    assert [r["what"] for r in after.records()].count("position") == 1

    assert judge(after.records()) == []
    after.exchange.tick("BTCUSDT", Quote(Decimal(39950), Decimal(39950), Decimal(39950), Decimal(39950), 1))
    assert after.statuses("t1") == ["FILLED"]
    after.order("a1", "ADD", "BUY", "0.01")
    after.cancel("s1")
    eventually(lambda: after.statuses("s1") == ["CANCELED"])
    after.stop("s2", "SELL", "0.21", "39900")
    after.tick("39900")
    assert after.position()["qty"] == 0
    assert judge(after.records()) == []


def test_the_market_goes_on_from_where_it_was(tmp_path: Path) -> None:
    walked = Progress("walk", 500, Decimal("43210.9"))
    resumed = Track.begin("BTCUSDT", SPECS["BTCUSDT"], PaperConfig(), walked)
    assert abs(resumed.quote(1).mark - walked.price) <= Decimal("0.1")
    assert resumed.played == 500

    path = tmp_path / "candles.csv"
    rows = (f"{1640991660000 + n * 60_000},{n + 1},{n + 2},{n + 1},{n + 2},1" for n in range(200))
    path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows))
    config = PaperConfig(market="candles", symbols=("BTCUSDT",), candles=(("BTCUSDT", path),))
    name, _ = source_for("BTCUSDT", config)
    resumed = Track.begin("BTCUSDT", SPECS["BTCUSDT"], config, Progress(name, 120, Decimal(121)))
    assert resumed.candle.open == 121
    other = Track.begin("BTCUSDT", SPECS["BTCUSDT"], config, Progress("other.csv", 120, Decimal(121)))
    assert next(islice(other.candles, 1)).open == 62


def test_without_a_file_nothing_is_kept() -> None:
    vault = Vault()
    vault.keep("order", "a", "{}")
    assert list(vault.all("order")) == []
    vault.close()
