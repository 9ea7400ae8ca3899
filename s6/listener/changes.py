"""Follows the channel ``s6:changed``, on which each commit names its position."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from redis.cluster import RedisCluster
from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.redis_client import RedisClient

log = logging.getLogger(__name__)
WAIT_S: Final = 0.2
GATHER_S: Final = 0.1  # changes come in bunches; a crossing missed meanwhile is found when they are put in


class Changes:
    """A subscription, made anew after an error. On a cluster there is one at each node, as one that hangs is silent."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis: Any = redis
        self._subscribed: list[Any] = []

    def subscribe(self) -> bool:
        """Subscribe, unless that is done. Returns whether it is new, so that changes may have been missed.

        Raises ``RedisError``.
        """
        if self._subscribed:
            return False
        on_cluster = isinstance(self._redis, RedisCluster)
        wheres = [{"node": node} for node in self._redis.get_primaries()] if on_cluster else [{}]
        errors = []
        for where in wheres:
            pubsub = self._redis.pubsub(ignore_subscribe_messages=True, **where)
            self._subscribed.append(pubsub)
            try:
                pubsub.subscribe(keys.CHANGED)
            except (RedisError, OSError) as error:
                errors.append(error)
                self._subscribed.remove(pubsub)
        if not self._subscribed:
            raise errors[0]
        return True

    def wait(self) -> set[str]:
        """Return the ids of positions that changed, after a short wait. Raises ``RedisError``."""
        changed: set[str] = set()
        self._gather(changed, WAIT_S)
        until = time.monotonic() + GATHER_S
        while changed and self._gather(changed, max(0.0, until - time.monotonic())):
            pass
        return changed

    def _gather(self, changed: set[str], timeout_s: float) -> bool:
        """Take one message of each subscription, waiting for the first of them alone. Returns whether there was any."""
        some = False
        for pubsub in self._subscribed:
            message = pubsub.get_message(timeout=0.0 if some else timeout_s / len(self._subscribed))
            if message is not None:
                changed.add(str(message["data"]).partition(" ")[2])
                some = True
        return some

    def close(self) -> None:
        """Give the subscription back."""
        subscribed, self._subscribed = self._subscribed, []
        for pubsub in subscribed:
            try:
                pubsub.close()
            except (RedisError, OSError) as error:
                log.debug("subscription closed: %s", error)
