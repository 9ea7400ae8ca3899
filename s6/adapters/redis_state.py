"""The live state in Redis (single, Sentinel or Cluster): the parts behind one face."""

from __future__ import annotations

from s6.adapters.redis_index import RedisIndex
from s6.adapters.redis_locks import RedisLocks
from s6.adapters.redis_looks import RedisLooks
from s6.adapters.redis_markets import RedisMarkets
from s6.adapters.redis_outbox import RedisOutbox
from s6.adapters.redis_positions import RedisPositions
from s6.adapters.redis_recovery import RedisLosses, RedisParking


class RedisState(
    RedisPositions, RedisIndex, RedisLocks, RedisLooks, RedisMarkets, RedisParking, RedisOutbox, RedisLosses
):
    """Every protocol of ``s6.ports.state``. Each consumer is typed with those that it uses."""
