"""Locks in Redis: a key with a random token and a time, released by its owner alone."""

from __future__ import annotations

import secrets
from contextlib import suppress

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters import redis_records as records
from s6.adapters import redis_scripts as lua
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_part import RedisPart, asking
from s6.model.commit import Loaded
from s6.ports import Clock, StateUnavailable


class RedisLocks(RedisPart):
    """``s6.ports.PositionLocks`` and ``s6.ports.LongLocks``."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        super().__init__(redis, clock)
        self._release = redis.register_script(lua.RELEASE)
        self._prolong = redis.register_script(lua.PROLONG)

    def lock(self, key: str, ttl_ms: int) -> str | None:
        token = secrets.token_hex(16)
        with asking():
            return token if self._redis.set(key, token, nx=True, px=ttl_ms) else None

    def lock_and_load(self, position_id: str, ttl_ms: int) -> tuple[str | None, Loaded | None]:
        key, token = keys.position_lock(position_id).key, secrets.token_hex(16)
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(key, token, nx=True, px=ttl_ms)
            pipe.hgetall(keys.state(position_id))
            taken, state = pipe.execute()
        except RedisError as error:
            with suppress(RedisError):
                self._release(keys=[key], args=[token])  # it may have been taken: nobody is to wait for its TTL
            raise StateUnavailable(f"Redis: {type(error).__name__}: {error}") from error
        return (token, records.loaded(state)) if taken else (None, None)

    def unlock(self, key: str, token: str) -> bool:
        with asking():
            return bool(self._release(keys=[key], args=[token]))

    def prolong(self, key: str, token: str, ttl_ms: int) -> bool:
        with asking():
            return bool(self._prolong(keys=[key], args=[token, ttl_ms]))
