"""Positions of a paper exchange that is no more are closed at the last price, once."""

from __future__ import annotations

from decimal import Decimal
from typing import cast

from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.clock import SystemClock
from s6.forgotten import close_forgotten
from s6.model.market import Tick
from s6.model.position import Position
from s6.model.types import Side
from s6.model.wire import OrderResult
from s6.ports import Commit


def _open(state: RedisState, position_id: str, side: Side, qty: str) -> None:
    position = Position(position_id, "BTCUSDT", "FUT", side, qty=Decimal(qty), entry_price_avg=Decimal("100.5"))
    assert state.commit(Commit(position=position, op=None)) is not None


def _told(client: RedisClient) -> list[OrderResult]:
    rows = cast(list[tuple[str, dict[str, str]]], client.xrange("ord:result:BTCUSDT"))
    return [OrderResult.model_validate(row) for _, row in rows]


def test_what_is_open_is_closed_at_the_last_price(redis_url: str, redis_client: RedisClient) -> None:
    state = RedisState(redis_client, SystemClock())
    _open(state, "long", "LONG", "0.3")
    _open(state, "short", "SHORT", "2")
    state.put_tick("BTCUSDT", Tick(SystemClock().now_ms(), *map(Decimal, ("101.25", "101", "101.5"))))
    assert close_forgotten(redis_url) == 2

    results = {result.position_id: result for result in _told(redis_client)}
    assert {name: result.side for name, result in results.items()} == {"long": "SELL", "short": "BUY"}
    long = results["long"]
    assert (long.status, long.qty, long.filled_qty) == ("FILLED", Decimal("0.3"), Decimal("0.3"))
    assert long.avg_price == Decimal("101.25")


def test_telling_it_again_changes_nothing(redis_url: str, redis_client: RedisClient) -> None:
    _open(RedisState(redis_client, SystemClock()), "p", "LONG", "1")
    close_forgotten(redis_url)
    close_forgotten(redis_url)
    ids = {result.client_order_id for result in _told(redis_client)}
    assert len(ids) == 1
    assert len(ids.pop()) <= 36


def test_nothing_open_nothing_told(redis_url: str, redis_client: RedisClient) -> None:
    assert close_forgotten(redis_url) == 0
    assert redis_client.dbsize() == 0
