from decimal import Decimal as D

import pytest

from s6 import rules
from s6.rules import Holding, Sale, TransferNeed


def test_a_holding_averages_its_buys() -> None:
    held = rules.wac_buy(qty=D(0), wac=D(0), buy_qty=D(1), buy_price=D(40000))
    assert held == Holding(D(1), D(40000))
    held = rules.wac_buy(qty=held.qty, wac=held.wac, buy_qty=D(3), buy_price=D(42000))
    assert held == Holding(D(4), D(41500))


def test_from_flat_the_old_average_does_not_matter() -> None:
    assert rules.wac_buy(qty=D(0), wac=D(123), buy_qty=D(2), buy_price=D("7.7")) == Holding(D(2), D("7.7"))


def test_a_sale_realizes_and_leaves_the_average() -> None:
    sale = rules.wac_sell(qty=D(4), wac=D(41500), sell_qty=D("1.5"), sell_price=D(41600))
    assert sale == Sale(qty=D("2.5"), wac=D(41500), realized=D(150))
    last = rules.wac_sell(qty=sale.qty, wac=sale.wac, sell_qty=D("2.5"), sell_price=D(41000))
    assert last == Sale(qty=D(0), wac=D(41500), realized=D(-1250))


def test_selling_more_than_is_held() -> None:
    with pytest.raises(ValueError, match="sell_qty"):
        rules.wac_sell(qty=D(4), wac=D(41500), sell_qty=D("4.00000001"), sell_price=D(41600))


def test_unrealized() -> None:
    assert rules.unrealized(mark=D(41600), wac=D(41500), qty=D("1.5")) == 150
    assert rules.unrealized(mark=D(41600), wac=D(0), qty=D(0)) == 0


@pytest.mark.parametrize(
    ("free_fut", "free_spot", "amount", "need", "feasible"),
    [
        ("600", "0", "0", "0", True),
        ("500", "0", "0", "0", True),
        ("400", "300", "100", "100", True),
        ("400", "299.99", "100", "100", False),
        ("-100", "5000", "600", "600", True),
        ("-9500.5", "10200", "10000", "10000.5", True),
        ("-9500.5", "10199", "10000", "10000.5", False),
    ],
)
def test_transfer_need(free_fut: str, free_spot: str, amount: str, need: str, feasible: bool) -> None:
    found = rules.transfer_need(
        free_fut=D(free_fut),
        free_spot=D(free_spot),
        min_free_fut=D(500),
        spot_buffer=D(200),
        max_transfer=D(10000),
    )
    assert found == TransferNeed(D(amount), D(need), feasible)


def test_nothing_may_be_moved() -> None:
    found = rules.transfer_need(
        free_fut=D(0), free_spot=D(0), min_free_fut=D(500), spot_buffer=D(200), max_transfer=D(0)
    )
    assert found == TransferNeed(D(0), D(500), True)
