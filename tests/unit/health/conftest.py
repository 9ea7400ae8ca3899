"""What the tests of health share."""

from __future__ import annotations

import pytest

from s6.adapters.redis_client import RedisClient
from tests.unit.health.parts import Dependencies


@pytest.fixture
def parts(redis_client: RedisClient) -> Dependencies:
    return Dependencies.on(redis_client)
