"""A result that comes again because somebody died over it still has its position governed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.model.wire import OrderResult
from tests.integration.test_quotas import Core
from tests.support.small_exchange import Fields, Held


def test_a_listener_that_died_before_it_could_hint(redis_client: RedisClient, tmp_path: Path) -> None:
    core = Core(redis_client, tmp_path, 1)
    core.move("BTCUSDT", Decimal(1000))
    results: list[Fields] = []
    core.exchange._publish = results.append
    core.exchange.enter(Held("p-1", "BTCUSDT", "FUT", "LONG", Decimal(5)), Decimal("0.001"))
    [entry] = results
    core.results.apply(OrderResult.read(entry), entry, hint=False)  # booked, and then it died
    core.queue.run(5_000)
    assert core.results.apply(OrderResult.read(entry), entry) == "NOTHING_NEW"
    core.queue.run(1_000)
    assert redis_client.exists(keys.stop("p-1"))
