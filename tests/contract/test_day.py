"""A day's worth of lives, and what is left of them: on a real server, and on the memory double."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any, Final

import pytest

from s6 import keys
from s6.adapters.redis_client import connect
from s6.model.market import Tick
from tests.support.desk import Desk
from tests.unit.given import bundle, result

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
LIVES_AN_HOUR: Final = 6
HOURS: Final = 48
#: What stays of lives that are over, and of nothing else: one key each, whatever the number of lives.
STAYS: Final = {keys.GONE, keys.market("BTCUSDT"), keys.events("BTCUSDT"), keys.RECONCILED,
                keys.concurrency("FUT"), keys.budget("FUT"),
                keys.quota_applied(keys.concurrency("FUT")), keys.quota_applied(keys.budget("FUT"))}  # fmt: skip


class Day:
    def __init__(self, desk: Desk, redis: Any) -> None:
        self.desk, self.redis = desk, redis
        self.lived: list[str] = []

    def names(self) -> set[str]:
        """Every key there is."""
        return set(self.redis.scan_iter(match="*", count=1000))

    def live(self, name: str) -> None:
        """An entry, its stop, a take-profit by hand, and the stop's fill."""
        desk = self.desk
        desk.state.put_tick("BTCUSDT", Tick(desk.clock.now, D(40_000), D(40_000), D(40_000)))
        self.told(name, f"e-{name}", kind="ENTRY", side="BUY", qty="1", filled_qty="1")
        desk.looks.protect(name)
        desk.looks.begin(name)
        op = desk.governor.evaluate(name).op
        assert op is not None
        desk.executor.advance(name, op.op_id)
        self.told(name, f"m-{name}", kind="REDUCE", side="SELL", qty="0.4", filled_qty="0.4", avg_price="40100")
        self.told(name, desk.now(name).sl_order, kind="SL", side="SELL", type="STOP_MARKET", avg_price="39200")
        desk.looks.evaluate(name, delay_ms=500)
        desk.clock.now += 500
        desk.looks.begin(name)
        desk.governor.evaluate(name)
        assert desk.now(name).status == "CLOSED"
        self.lived.append(name)

    def told(self, name: str, order: str, **fields: Any) -> None:
        self.desk.results.apply(result(ts=self.desk.clock.now, position_id=name, client_order_id=order, **fields), {})

    def hour(self, lives: int) -> None:
        for _ in range(lives):
            self.live(f"p{len(self.lived)}")
        self.desk.relay.run()
        for name, mark in self.desk.state.ops_in_flight():  # the watch over operations at rest
            self.desk.state.op_settled(name, mark)
        self.desk.clock.now += HOUR_MS
        self.desk.sweep.run()  # its turn expires by real time on a real server


@pytest.fixture(params=["memory", "redis"])
def day(request: pytest.FixtureRequest) -> Iterator[Day]:
    if request.param == "memory":
        desk = Desk(bundle())
        desk.redis.do_set(keys.RECONCILED, "1")
        yield Day(desk, desk.redis)
    else:
        with connect(request.getfixturevalue("redis_url")) as client:
            client.set(keys.RECONCILED, "1")
            yield Day(Desk(bundle(), redis=client), client)


def test_of_a_day_s_lives_nothing_is_left_but_their_names(day: Day) -> None:
    sizes = []
    for _ in range(HOURS):
        day.hour(LIVES_AN_HOUR)
        sizes.append(len([name for name in day.names() if not name.startswith("pos:gone:")]))
    assert sizes[-1] <= sizes[25] + 12, "what a day holds, the next one holds as well"
    assert len(day.lived) == HOURS * LIVES_AN_HOUR
    for _ in range(26):
        day.hour(0)
    assert day.names() - STAYS == {keys.gone(name) for name in day.lived}
    assert sorted(day.redis.zrange(keys.GONE, 0, -1)) == sorted(day.lived)
    assert (day.desk.state.quota(keys.budget("FUT")), day.desk.state.symbols()) == (D(0), [])


def test_a_thousand_moves_of_one_open_position_leave_a_bounded_one(day: Day) -> None:
    desk = day.desk
    day.told("p1", "e-1", kind="ENTRY", side="BUY", qty="1000", filled_qty="1000")
    for number in range(1_000):
        desk.clock.now += 1_000
        day.told("p1", f"SL-{number}", kind="SL", side="SELL", type="STOP_MARKET", qty="1", status="CANCELED",
                 filled_qty="0", avg_price=None, leverage=None)  # fmt: skip
        desk.looks.evaluate("p1")
        if number % 100 == 0:
            desk.relay.run()
    desk.relay.run()
    assert len(desk.state.own_orders("p1")) <= 513
    assert len(desk.now("p1").orders) <= 1 and len(day.names()) < 25
