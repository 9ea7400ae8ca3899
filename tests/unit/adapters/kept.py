"""The adapters of S1 and S4, over what their processes keep."""

from __future__ import annotations

from typing import cast

from s6.adapters.http import Neighbour
from s6.adapters.reading import Reader
from s6.adapters.redis_client import RedisClient
from s6.adapters.rests import Rests
from s6.adapters.s1 import S1Wallets
from s6.adapters.s4 import S4Orders
from tests.doubles.memory_redis import MemoryRedis
from tests.support.doubles import ManualClock, MemoryAlerts


class NoBundle:
    latest = None


class Kept:
    """Alerts, a clock, and a Redis with the rests; each adapter is that of another process."""

    def __init__(self) -> None:
        self.alerts, self.clock = MemoryAlerts(), ManualClock()
        self.redis = MemoryRedis(self.clock)
        self.reader = Reader(self.clock, NoBundle())

    def rests(self) -> Rests:
        return Rests(cast(RedisClient, self.redis), self.alerts)

    def s1(self, neighbour: Neighbour) -> S1Wallets:
        return S1Wallets(neighbour, self.reader, self.rests())

    def s4(self, neighbour: Neighbour) -> S4Orders:
        return S4Orders(neighbour, self.reader, self.alerts, self.rests())
