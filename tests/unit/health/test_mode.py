"""Whether new risk may be taken: what the neighbours, the market data and the alerts say."""

from __future__ import annotations

from decimal import Decimal

import pytest

from s6.adapters.redis_client import connect
from s6.model.market import MarketView, Tick
from s6.standalone.redis_single import EmbeddedRedis
from tests.unit.health.parts import REDUCED, Dependencies


def test_normal_when_all_is_well(parts: Dependencies) -> None:
    assert parts.mode() == "NORMAL"
    assert parts.mode(5_000) == "NORMAL"
    parts.says("s4", "OK")
    parts.says("ws", "DEGRADED")
    assert parts.mode() == "NORMAL"


def test_no_new_risk_on_stale_or_missing_market_data(parts: Dependencies) -> None:
    assert parts.mode(5_001) == REDUCED
    assert parts.mode(None) == REDUCED


@pytest.mark.parametrize("service", ["ws", "s4", "s2", "s11"])
def test_no_new_risk_while_a_health_key_says_down(service: str, parts: Dependencies) -> None:
    parts.says(service, "DOWN")
    assert parts.mode() == REDUCED
    parts.redis.delete(f"prod:health:{service}")
    assert parts.mode() == "NORMAL"


def test_what_is_about_to_be_done_goes_by_this_moments_word(parts: Dependencies) -> None:
    assert parts.mode() == "NORMAL"
    parts.says("ws", "DOWN")
    now = parts.clock.now
    view = MarketView("BTCUSDT", Tick(now, Decimal(1), Decimal(1), Decimal(1)))
    assert parts.gate.mode("FUT", view, now, fresh=True) == "RISK_REDUCTION_ONLY"


def test_no_new_risk_while_s4_does_not_answer(parts: Dependencies) -> None:
    for _ in range(3):
        parts.breaker.failed("s1", "x")
    assert parts.mode() == "NORMAL"
    for _ in range(3):
        parts.breaker.failed("s4", "x")
    assert parts.mode() == REDUCED
    parts.breaker.succeeded("s4", 1)
    assert parts.mode() == "NORMAL"
    assert parts.codes() == ["S1_DOWN", "S4_DOWN", "S4_DOWN_OVER"]


def test_no_new_risk_while_a_fatal_alert_stands(parts: Dependencies) -> None:
    parts.alerts.raise_alert("FATAL", "STOP_MOVE_FAILED", "x", position_id="p-1")
    assert parts.mode() == REDUCED
    [alert_id] = parts.alerts.standing_fatal()
    parts.alerts.ack(alert_id, by="ann")
    assert parts.mode() == "NORMAL"


@pytest.mark.parametrize("value", ["{", "[]", '"DOWN"', '{"status": "down"}', '{"status": []}', "null"])
def test_a_malformed_health_key_is_no_news_and_said_once(value: str, parts: Dependencies) -> None:
    parts.redis.set("prod:health:ws", value)
    assert [parts.mode(), parts.mode()] == ["NORMAL", "NORMAL"]
    assert parts.codes() == ["HEALTH_KEY_MALFORMED"]


def test_no_new_risk_without_redis(own_redis: EmbeddedRedis) -> None:
    with connect(own_redis.url()) as client:
        parts = Dependencies.on(client)
        assert parts.mode() == "NORMAL"
        own_redis.stop()
        assert parts.mode() == REDUCED


@pytest.mark.parametrize("value", [b"\xff", b"{\xff}", b"down", b"[1]", b'{"status": "FINE"}', b'{"status": 1e99999}',
                                   b"[" * 100_000, b'{"status": "DOWN", "ts": 1700000005001}'])  # fmt: skip
def test_a_health_key_that_cannot_be_read_is_no_news(value: bytes, parts: Dependencies) -> None:
    for _ in range(3):
        parts.redis.set("prod:health:s2", value)
        assert parts.mode() == "NORMAL"
    assert parts.codes() == ["HEALTH_KEY_MALFORMED"]


def test_a_health_key_of_another_type_is_no_news(parts: Dependencies) -> None:
    parts.redis.hset("prod:health:s2", "status", "DOWN")
    parts.says("ws", "DOWN")
    assert parts.gate.reasons(fresh=True) == ["ws is reported DOWN"]
    parts.says("ws", "OK")
    assert parts.mode() == "NORMAL"
    assert parts.codes() == ["HEALTH_KEY_MALFORMED"]


def test_a_tick_that_the_clock_left_ahead_is_stale(parts: Dependencies) -> None:
    assert parts.mode(-5_000) == "NORMAL"
    assert parts.mode(-5_001) == REDUCED
