"""Heartbeats: each process shows the others that it is alive."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_text import text
from s6.ports import Clock

log = logging.getLogger(__name__)

Role = Literal["worker", "listener", "beat", "web"]

TTL_MS: Final = 10_000
EVERY_S: Final = 2.0


class Beat(NamedTuple):
    """A live process: its role, the time of its last heartbeat (ms), where it runs."""

    role: str
    ts: int
    pid: int
    host: str


def send_heartbeat(redis: RedisClient, role: Role, now: int) -> None:
    """Send a heartbeat. The process counts as gone 10 s after the last one. Raises ``RedisError``."""
    host, pid = socket.gethostname(), os.getpid()
    pipe = text(redis).pipeline(transaction=False)
    pipe.set(_key(role), json.dumps({"ts": now, "pid": pid, "host": host}), px=TTL_MS)
    pipe.sadd(keys.PROCESSES, _member(role))
    pipe.execute()


def live_processes(redis: RedisClient) -> list[Beat]:
    """Return all live processes. Raises ``RedisError``."""
    client = text(redis)
    members = sorted(client.smembers(keys.PROCESSES))
    pipe = client.pipeline(transaction=False)
    for member in members:
        pipe.get(keys.process(member))
    found = []
    for member, value in zip(members, pipe.execute() if members else [], strict=True):
        if value is None:
            client.srem(keys.PROCESSES, member)  # should it live after all, its next beat puts it back
        else:
            beat = json.loads(value)
            found.append(Beat(member.partition(":")[0], int(beat["ts"]), int(beat["pid"]), str(beat["host"])))
    return found


class Heartbeat(threading.Thread):
    """Sends a heartbeat every 2 s while ``alive()`` says that the process does its work; a hanging one sends none."""

    def __init__(self, redis: RedisClient, role: Role, clock: Clock, alive: Callable[[], bool] | None = None) -> None:
        super().__init__(name=f"heartbeat-{role}", daemon=True)
        self._redis, self._role, self._clock, self._alive = redis, role, clock, alive
        self._ending = threading.Event()

    def stop(self) -> None:
        """Stop, and delete the heartbeat, so that the process counts as gone at once."""
        self._ending.set()
        try:
            client = text(self._redis)
            client.delete(_key(self._role))
            client.srem(keys.PROCESSES, _member(self._role))
        except RedisError as error:
            log.debug("sign of life left to expire: %s", error)

    def run(self) -> None:
        while not self._ending.is_set():
            if self._alive is None or self._alive():
                try:
                    send_heartbeat(self._redis, self._role, self._clock.now_ms())
                except RedisError as error:
                    log.warning("heartbeat not written: %s", error)
            else:
                log.error("%s hangs: no heartbeat", self._role)
            self._ending.wait(EVERY_S)


def _member(role: Role) -> str:
    return f"{role}:{socket.gethostname()}-{os.getpid()}"


def _key(role: Role) -> str:
    return keys.process(_member(role))
