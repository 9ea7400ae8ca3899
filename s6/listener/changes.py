"""Follows the channel ``s6:changed``, on which each commit names its position."""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from redis.exceptions import ConnectionError, RedisError

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_cluster import HonestCluster

log = logging.getLogger(__name__)
WAIT_S: Final = 0.2
GATHER_S: Final = 0.1  # changes come in bunches; a crossing missed meanwhile is found when they are put in


class Changes:
    """A subscription. On a cluster there is one at each node that answers, and each of them hears everything."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis: Any = redis
        self._subscribed: dict[str, Any] = {}

    def subscribe(self) -> bool:
        """Subscribe where that is not done. Returns whether any is new, so that changes may have been missed.

        Raises ``RedisError`` where there is no subscription at all.
        """
        places = self._places()
        new = [name for name in places if name not in self._subscribed and self._subscribe(name, places[name])]
        if not self._subscribed:
            raise ConnectionError(f"{keys.CHANGED} cannot be subscribed to")
        return bool(new)

    def wait(self) -> set[str]:
        """Return the ids of positions that changed, after a short wait."""
        changed: set[str] = set()
        self._gather(changed, WAIT_S)
        until = time.monotonic() + GATHER_S
        while changed and self._gather(changed, max(0.0, until - time.monotonic())):
            pass
        return changed

    def close(self) -> None:
        """Give the subscription back."""
        for name in list(self._subscribed):
            self._drop(name)

    def _places(self) -> dict[str, dict[str, Any]]:
        """Return where to subscribe, by name: what ``pubsub`` must be given."""
        if not isinstance(self._redis, HonestCluster):
            return {"": {}}
        return {node.name: {"node": node} for node in self._redis.answering()}

    def _subscribe(self, name: str, where: dict[str, Any]) -> bool:
        self._subscribed[name] = self._redis.pubsub(ignore_subscribe_messages=True, **where)
        try:
            self._subscribed[name].subscribe(keys.CHANGED)
        except (RedisError, OSError) as error:
            log.warning("%s not subscribed to: %s", keys.CHANGED, error)
            self._drop(name)
            return False
        return True

    def _gather(self, changed: set[str], timeout_s: float) -> bool:
        """Take one message of each subscription, waiting for the first of them alone. Returns whether there was any.

        One that fails is dropped, and is new when it is made again.
        """
        some = False
        answering = sorted(self._subscribed.keys() & self._places().keys())
        if not answering:
            time.sleep(timeout_s)
        for name in answering:
            try:
                message = self._subscribed[name].get_message(timeout=0.0 if some else timeout_s / len(answering))
            except (RedisError, OSError) as error:
                log.warning("the subscription to %s ended: %s", keys.CHANGED, error)
                self._drop(name)
                continue
            if message is not None:
                changed.add(str(message["data"]).partition(" ")[2])
                some = True
        return some

    def _drop(self, name: str) -> None:
        try:
            self._subscribed.pop(name).close()
        except (RedisError, OSError) as error:
            log.debug("subscription closed: %s", error)
