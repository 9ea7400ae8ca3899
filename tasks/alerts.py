"""Alerts on their way to the store and to people."""

from __future__ import annotations

from redis.exceptions import RedisError

from s6.store import StoreError
from tasks.base import house, task


@task()
def tell() -> None:
    """Alerts stay in Redis until the store has them; people are told at most once."""
    try:
        house().tell_alerts()
    except (RedisError, StoreError):
        return  # still in Redis: the next beat tries again
