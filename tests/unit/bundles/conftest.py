"""What the tests of bundles share."""

from __future__ import annotations

import pytest

from s6.adapters.redis_client import RedisClient
from s6.alerts.log import AlertLog
from s6.bundles.active import Bundles
from tests.support.bundles import MemoryConfig
from tests.support.doubles import ManualClock, MemoryMetrics


@pytest.fixture
def s10() -> MemoryConfig:
    return MemoryConfig()


@pytest.fixture
def alerts(redis_client: RedisClient) -> AlertLog:
    return AlertLog(redis_client, ManualClock(), MemoryMetrics())


@pytest.fixture
def bundles(redis_client: RedisClient, s10: MemoryConfig, alerts: AlertLog) -> Bundles:
    return Bundles(redis_client, s10, alerts, ManualClock())
