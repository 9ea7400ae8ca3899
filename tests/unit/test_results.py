"""A result applied: who is woken, and what is known by then."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.model.bundle import ActiveBundle
from s6.model.operation import Operation
from s6.model.wire import OrderResult
from s6.recording import Recorder
from s6.results import Results
from tests.support.doubles import ManualClock, MemoryAlerts, MemoryMetrics
from tests.unit.given import NOW, bundle, result


class Fixed:
    def current(self) -> ActiveBundle:
        return bundle()


class Woken:
    """Hints that note how much was held when they were given."""

    def __init__(self, state: RedisState) -> None:
        self._state = state
        self.held: list[Decimal] = []

    def protect(self, position_id: str) -> None:
        loaded = self._state.load(position_id)
        assert loaded is not None
        self.held.append(loaded.position.qty)

    def evaluate(self, position_id: str, *, delay_ms: int = 0) -> None:
        self.protect(position_id)

    def evaluate_many(self, position_ids: Sequence[str]) -> None:
        raise NotImplementedError

    def execute(self, position_id: str, op: Operation) -> None:
        raise NotImplementedError

    resume = execute

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        raise NotImplementedError


@pytest.fixture
def woken(redis_client: RedisClient) -> Woken:
    return Woken(RedisState(redis_client, ManualClock(NOW)))


@pytest.fixture
def results(redis_client: RedisClient, woken: Woken) -> Results:
    clock, alerts = ManualClock(NOW), MemoryAlerts()
    state = RedisState(redis_client, clock)
    return Results(state, Fixed(), Recorder(state, alerts, MemoryMetrics()), woken, clock, alerts)


def applied(results: Results, told: OrderResult) -> str:
    fields = {name: str(getattr(told, name)) for name in ("ts", "symbol", "market", "position_id", "client_order_id")}
    fields |= {"intent_id": "", "kind": told.kind, "side": told.side, "type": told.type, "status": told.status}
    fields |= {"qty": str(told.qty), "filled_qty": str(told.filled_qty), "avg_price": str(told.avg_price)}
    return results.apply(told, fields)


def test_an_entry_wakes_nobody_before_what_waited_for_it_is_booked(results: Results, woken: Woken) -> None:
    """A stop placed in between would be sized by a quantity that is known not to be held any more."""
    close = result(client_order_id="c1", kind="REDUCE", side="SELL", qty="0.3", filled_qty="0.3")
    assert applied(results, close) == "PARKED"
    assert applied(results, result()) == "APPLIED"
    assert woken.held
    assert set(woken.held) == {Decimal("0.7")}
