"""The paper exchange whose ledger the judge is tried on."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from s6.paper.faults import ExchangeFaults, FaultPlan, Faults
from s6.paper.ledger import Ledger
from s6.paper.timer import Timer
from s6.paper.wallet import Wallet
from tests.unit.paper.floor import Clock, Floor


@pytest.fixture
def floor() -> Iterator[Floor]:
    clock = Clock()
    timer, ledger = Timer(), Ledger(clock=clock)
    faults = Faults(FaultPlan(exchange=ExchangeFaults(cancel_delay_ms=0)), seed=1)
    wallet = Wallet(Decimal(1000), Decimal(1000), ledger=ledger, faults=faults, clock=clock)
    yield Floor(ledger, faults, timer, wallet, clock)
    timer.stop()
