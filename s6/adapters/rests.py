"""``Retry-After`` on questions: after one, no process puts the same question again before the rest is over.

A request that changes something has a record that says when it is sent again. A question has none, so its rest stands
in Redis. It counts up to a minute, like any other.
"""

from __future__ import annotations

import logging

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.http import Answer, Neighbour
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.model.waiting import LONGEST_MS
from s6.ports import Alerts, NeighbourUnavailable

log = logging.getLogger(__name__)


class Rests:
    """Asks neighbours, unless they want rest from that question."""

    def __init__(self, redis: RedisClient, alerts: Alerts) -> None:
        self._redis, self._alerts = text(redis), alerts

    def ask(self, neighbour: Neighbour, path: str, *, protective: bool = True) -> Answer:
        """GET ``path``, as ``Neighbour.call`` does. Raises ``NeighbourUnavailable`` unasked until a rest is over."""
        key = keys.rest(neighbour.name, path)
        left_ms = self._left_ms(key)
        if left_ms:
            raise NeighbourUnavailable(neighbour.name, f"wants {left_ms} ms more of rest; not asked", left_ms)
        try:
            return neighbour.call("GET", path, protective=protective)
        except NeighbourUnavailable as error:
            wanted_ms = error.retry_after_ms or 0
            if wanted_ms > LONGEST_MS:
                said = f"GET {path}: {error.name} wants {wanted_ms // 1000} s of rest; asked again in 60 s"
                self._alerts.raise_alert("ERROR", f"{error.name.upper()}_RETRY_AFTER", said)
            if wanted_ms:
                self._note(key, min(wanted_ms, LONGEST_MS))
            raise

    def _left_ms(self, key: str) -> int:
        try:
            return max(self._redis.pttl(key), 0)  # below 0 there is none
        except RedisError as error:
            log.warning("%s not read, the question is put: %s", key, error)
            return 0

    def _note(self, key: str, rest_ms: int) -> None:
        try:
            self._redis.set(key, "1", px=rest_ms)
        except RedisError as error:
            log.warning("%s not noted: %s", key, error)
