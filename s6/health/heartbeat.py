"""Heartbeats: each process shows the others that it is alive."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
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
_TOKEN: Final = secrets.token_hex(4)


class Beat(NamedTuple):
    """A live process: its role, the time of its last heartbeat (ms), where it runs."""

    role: str
    ts: int
    pid: int
    host: str
    member: str

    def is_dead(self) -> bool:
        """Return whether the process surely ended, though its last heartbeat stands: it ran on this host, where
        no process has its number now."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def send_heartbeat(redis: RedisClient, role: Role, now: int) -> None:
    """Send a heartbeat. The process counts as gone 10 s after the last one. Raises ``RedisError``."""
    host, pid = socket.gethostname(), os.getpid()
    pipe = text(redis).pipeline(transaction=False)
    pipe.set(_key(role), json.dumps({"ts": now, "pid": pid, "host": host}), px=TTL_MS)
    pipe.sadd(keys.PROCESSES, own_member(role))
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
            client.srem(keys.PROCESSES, member)  # if it is alive after all, its next heartbeat adds it again
        else:
            beat = json.loads(value)
            found.append(Beat(member.partition(":")[0], int(beat["ts"]), int(beat["pid"]), str(beat["host"]), member))
    return found


class Heartbeat:
    """Sends a heartbeat every 2 s while ``alive()`` says that each of the process's loops is at work, else none."""

    def __init__(self, redis: RedisClient, role: Role, clock: Clock, alive: Callable[[], bool] | None = None) -> None:
        self._redis, self._role, self._clock, self._alive = redis, role, clock, alive

    def close(self) -> None:
        """Delete the heartbeat, so that the process counts as gone at once."""
        try:
            client = text(self._redis)
            client.delete(_key(self._role))
            client.srem(keys.PROCESSES, own_member(self._role))
        except RedisError as error:
            log.debug("heartbeat left to expire: %s", error)

    def round(self) -> float:
        """Send a heartbeat, or log why not. Returns the pause before the next round, in s."""
        if self._alive is None or self._alive():
            try:
                send_heartbeat(self._redis, self._role, self._clock.now_ms())
            except RedisError as error:
                log.warning("heartbeat not written: %s", error)
        else:
            log.error("%s: not all of its loops are at work, so no heartbeat", self._role)
        return EVERY_S


def own_member(role: Role) -> str:
    """Return this process's name among all processes; hosts may share names and numbers of processes."""
    return f"{role}:{socket.gethostname()}-{os.getpid()}-{_TOKEN}"


def _key(role: Role) -> str:
    return keys.process(own_member(role))
