"""Publish alerts: to the store and to people."""

from __future__ import annotations

from redis.exceptions import RedisError

from s6.ports import StateUnavailable
from s6.store import StoreError
from tasks.base import services, task


@task()
def publish() -> None:
    """Publish alerts. They stay in Redis until the store and each service of notifications have them."""
    try:
        services().alerts.publish()
    except (RedisError, StateUnavailable, StoreError):
        return  # still in Redis: the next beat tries again
