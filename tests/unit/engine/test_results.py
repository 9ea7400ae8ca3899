"""A result applied: who is woken, and what is known by then."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.engine.recorder import Recorder
from s6.engine.results import Results
from s6.model.answers import CancelAnswer, Placed, Refused
from s6.model.bundle import ActiveBundle
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.model.wire import OrderResult
from s6.ports import NeighbourUnavailable
from tests.support.desk import Desk
from tests.support.doubles import ManualClock, MemoryAlerts, MemoryMetrics
from tests.unit.given import NOW, bundle, result, stopped


class Fixed:
    def current(self) -> ActiveBundle:
        return bundle()

    @property
    def latest(self) -> ActiveBundle:
        return self.current()


class Woken:
    """Hints that note how much was held when they were given."""

    def __init__(self, state: RedisState) -> None:
        self._state = state
        self.held: list[Decimal] = []

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        for position_id in position_ids:
            loaded = self._state.load(position_id)
            assert loaded is not None
            self.held.append(loaded.position.qty)

    def evaluate(self, position_id: str, *, delay_ms: int = 0) -> None:
        raise NotImplementedError

    def protect(self, position_id: str) -> None:
        raise NotImplementedError

    def execute(self, position_id: str, op: Operation) -> None:
        raise NotImplementedError

    resume = execute

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        raise NotImplementedError


@pytest.fixture
def woken(redis_client: RedisClient) -> Woken:
    return Woken(RedisState(redis_client, ManualClock(NOW)))


class Exchange:
    """S4 as far as it is asked about orders."""

    def __init__(self) -> None:
        self.known: dict[str, OrderResult] = {}
        self.down = False

    def query(self, client_order_id: str) -> OrderResult | None:
        if self.down:
            raise NeighbourUnavailable("s4", "silent")
        return self.known.get(client_order_id)

    def place(self, position: Position, order: Order) -> Placed | Refused:
        raise NotImplementedError

    def cancel(self, position: Position, client_order_id: str, intent: str) -> CancelAnswer:
        raise NotImplementedError


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def results(redis_client: RedisClient, woken: Woken, exchange: Exchange, clock: ManualClock) -> Results:
    alerts = MemoryAlerts()
    state = RedisState(redis_client, clock)
    return Results(state, Fixed(), Recorder(state, alerts, MemoryMetrics()), woken, clock, alerts, None, exchange)


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


def the_position(redis_client: RedisClient) -> Position:
    loaded = RedisState(redis_client, ManualClock(NOW)).load("p1")
    assert loaded is not None
    return loaded.position


def an_add(status: str, filled: str, ts: int) -> OrderResult:
    return result(client_order_id="a1", kind="ADD", qty="0.5", status=status, filled_qty=filled, ts=ts,
                  avg_price="40100" if filled != "0" else None)  # fmt: skip


CLOSE = result(client_order_id="s1", kind="SL", side="SELL", type="STOP_MARKET", ts=NOW + 200)


@pytest.mark.parametrize(("filled_at", "held"), [(100, Decimal("0.5")), (200, Decimal("0.5")), (300, Decimal(0))])
def test_an_add_that_filled_before_a_close_is_booked_before_it(
    results: Results, exchange: Exchange, redis_client: RedisClient, filled_at: int, held: Decimal
) -> None:
    """Its own result is late: only S4 can tell that the position was never flat."""
    for told in (result(), an_add("NEW", "0", NOW + 50)):
        applied(results, told)
    exchange.known["a1"] = an_add("FILLED", "0.5", NOW + filled_at)
    assert applied(results, CLOSE) == "APPLIED"
    p = the_position(redis_client)
    assert (p.qty, p.life, p.is_open) == (held, 1, held > 0)
    assert applied(results, exchange.known["a1"]) == ("NOTHING_NEW" if held else "APPLIED")
    p = the_position(redis_client)
    assert (p.qty, p.life) == (Decimal("0.5"), 1 if held else 2)


def test_a_close_waits_for_s4_but_not_for_ever(
    results: Results, exchange: Exchange, redis_client: RedisClient, clock: ManualClock
) -> None:
    for told in (result(), an_add("NEW", "0", NOW + 50)):
        applied(results, told)
    exchange.down = True
    with pytest.raises(NeighbourUnavailable):
        applied(results, CLOSE)
    assert the_position(redis_client).is_open
    clock.now += 11_000
    assert applied(results, CLOSE) == "APPLIED"
    assert not the_position(redis_client).is_open


def test_a_clock_set_back_an_hour_holds_no_close_up(
    results: Results, exchange: Exchange, redis_client: RedisClient, clock: ManualClock
) -> None:
    for told in (result(), an_add("NEW", "0", NOW + 50)):
        applied(results, told)
    exchange.down = True
    clock.now -= 3_600_000
    assert applied(results, CLOSE) == "APPLIED"
    assert not the_position(redis_client).is_open


# --- results that wait for their position -------------------------------------------------------------------------


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def waits(desk: Desk) -> dict[str, str]:
    """A reduction that came before its position was known."""
    told = result(client_order_id="r1", kind="REDUCE", side="SELL", qty="0.3", filled_qty="0.3", leverage=None)
    fields = {name: str(value) for name, value in told.model_dump().items() if value is not None}
    assert desk.results.apply(told, fields) == "PARKED"
    return fields


def test_after_a_minute_it_is_given_up(desk: Desk) -> None:
    fields = waits(desk)
    desk.redis.do_set(keys.RECONCILED, "1")  # Redis is whole: what it doesn't know never was
    desk.clock.now += 59_999
    assert desk.results.give_up_overdue() == 0
    desk.clock.now += 1
    assert desk.results.give_up_overdue() == 1
    assert desk.alerts.letters == [("ord:result:BTCUSDT", "", "position_id: p1 is not known after 60 s", fields)]
    assert desk.state.parked("p1") == []
    assert desk.results.give_up_overdue() == 0


def test_of_a_position_that_may_have_been_lost_it_is_kept(desk: Desk) -> None:
    """The store may give the position back yet: its fill would be lost with the result."""
    waits(desk)
    desk.clock.now += 600_000
    assert desk.results.give_up_overdue() == 0  # Redis was emptied, and is not reconciled yet
    desk.redis.do_set(keys.RECONCILED, "1")
    desk.redis.do_zadd(keys.POSITIONS, {"p1": 0})
    assert desk.results.give_up_overdue() == 0  # an index names it
    assert (len(desk.state.parked("p1")), desk.alerts.letters) == (1, [])
    desk.put(stopped(39_000))
    assert desk.results.give_up_overdue() == 0
    assert (desk.now().qty, desk.state.parked("p1"), desk.alerts.letters) == (Decimal("0.7"), [], [])


def test_an_entry_told_again_applies_what_waits(desk: Desk) -> None:
    """Whoever booked it first died before it came to what waited."""
    desk.results.apply(result(), {})
    other = result(client_order_id="r1", kind="REDUCE", side="SELL", qty="0.3", filled_qty="0.3", leverage=None)
    fields = {name: str(value) for name, value in other.model_dump().items() if value is not None}
    desk.state.park("p1", fields, NOW + 60_000)
    assert desk.results.apply(result(), {}) == "NOTHING_NEW"
    assert (desk.now().qty, desk.state.parked("p1")) == (Decimal("0.7"), [])


def test_what_waits_and_contradicts_is_put_aside(desk: Desk) -> None:
    wrong = result(client_order_id="r1", kind="REDUCE", side="BUY", qty="0.3", filled_qty="0.3", leverage=None)
    fields = {name: str(value) for name, value in wrong.model_dump().items() if value is not None}
    desk.state.park("p1", fields, NOW + 60_000)
    desk.results.apply(result(), {})
    assert [(source, entry) for source, entry, _, _ in desk.alerts.letters] == [("ord:result:BTCUSDT", "")]
    assert (desk.now().qty, desk.state.parked("p1")) == (Decimal(1), [])


def test_an_entry_without_a_fill_opens_nothing(desk: Desk) -> None:
    assert desk.results.apply(result(status="NEW", filled_qty="0", avg_price=None), {}) == "IGNORED"
    assert (desk.state.load("p1"), desk.state.parked("p1")) == (None, [])


# --- who is woken -------------------------------------------------------------------------------------------------


def test_a_fill_that_leaves_it_without_a_stop_is_urgent(desk: Desk) -> None:
    desk.results.apply(result(), {})
    assert (desk.hints.protected, desk.hints.evaluated) == (["p1"], ["p1"])
    desk.put(stopped(39_000, position_id="p2", rev=0))
    sold = result(position_id="p2", client_order_id="m1", kind="EXIT", side="SELL", qty="0.3", filled_qty="0.3")
    desk.results.apply(sold, {})
    assert (desk.hints.protected, desk.hints.evaluated) == (["p1"], ["p1", "p2"])


def test_told_again_it_is_evaluated_all_the_same(desk: Desk) -> None:
    desk.results.apply(result(), {}, hint=False)
    assert desk.hints.evaluated == []
    assert desk.results.apply(result(), {}) == "NOTHING_NEW"
    assert desk.hints.evaluated == ["p1"]


def test_the_acceptance_of_an_order_wakes_nobody(desk: Desk) -> None:
    desk.put(stopped(39_000))
    told = {"client_order_id": "m1", "kind": "EXIT", "side": "SELL", "filled_qty": "0", "avg_price": None}
    for applied in ("APPLIED", "NOTHING_NEW"):
        assert desk.results.apply(result(status="NEW", **told), {}) == applied
    assert desk.hints.evaluated == []


def test_nothing_is_parked_for_more_than_an_hour(desk: Desk) -> None:
    """Its position has left Redis, and the store has been pruned."""
    waits(desk)
    desk.redis.do_set(keys.RECONCILED, "1")
    desk.state.note_gone({"p1": 1})
    desk.clock.now += 3_659_999
    assert desk.results.give_up_overdue() == 0
    desk.clock.now += 1
    assert desk.results.give_up_overdue() == 1
    assert desk.state.parked("p1") == []


def test_a_clock_set_back_an_hour_holds_no_result_up(desk: Desk) -> None:
    fields = waits(desk)
    desk.redis.do_set(keys.RECONCILED, "1")
    desk.clock.now -= 3_600_000
    assert desk.results.give_up_overdue() == 1
    assert [letter[3] for letter in desk.alerts.letters] == [fields]
