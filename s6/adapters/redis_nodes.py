"""Which nodes of a cluster hang: who asks one of them fails at once, so that only one caller at a time waits for it.

A node that let a command time out is left alone until it answers a short probe. One caller at a time makes that, and
looks after a probe that failed whether another node has taken over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError, RedisError

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.2
PROBE_S: Final = 0.2


class NodeAway(ConnectionError):
    """One node of the cluster does not answer; the others may. The command may or may not have been carried out."""


class HungNodes:
    """The nodes that hang, by name; threads share it. While all answer it is empty, and costs nothing.

    ``refresh`` gets the name of a node that does not answer, and looks at the cluster anew. It may raise
    ``RedisError``.
    """

    def __init__(self, refresh: Callable[[str], object]) -> None:
        self._refresh = refresh
        self._lock = threading.Lock()
        self._probe_at: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._probe_at)

    def note(self, name: str) -> None:
        """Note that a node let a command time out."""
        with self._lock:
            if name not in self._probe_at:
                log.warning("%s hangs: what is on it waits", name)
            self._probe_at[name] = time.monotonic() + PAUSE_S

    def check(self, node: ClusterNode) -> None:
        """Return if the node may be asked. Raises ``NodeAway``."""
        with self._lock:
            probe_at = self._probe_at.get(node.name)
            if probe_at is None:
                return
            due = time.monotonic() >= probe_at
            if due:
                self._probe_at[node.name] = time.monotonic() + PROBE_S + PAUSE_S  # others don't wait for this probe
        if not due or not self._answers(node):
            raise NodeAway(f"{node.name} hangs")

    def hangs(self, node: ClusterNode) -> bool:
        """Return whether the node may not be asked."""
        try:
            self.check(node)
        except NodeAway:
            return True
        return False

    def find(self, nodes: Iterable[ClusterNode]) -> bool:
        """Probe these and note those that hang. Returns whether any does."""
        answers = [self._answers(node) for node in nodes]
        return not all(answers)

    def _answers(self, node: ClusterNode) -> bool:
        if _probe(node):
            with self._lock:
                if self._probe_at.pop(node.name, None) is not None:
                    log.warning("%s answers again", node.name)
            return True
        self.note(node.name)
        try:
            self._refresh(node.name)
        except RedisError as error:
            log.warning("the cluster was not looked at: %s", error)
        return False


def _probe(node: ClusterNode) -> bool:
    if node.redis_connection is None:
        return True  # nobody has asked it yet
    pool = node.redis_connection.connection_pool
    soon = {"socket_timeout": PROBE_S, "socket_connect_timeout": PROBE_S}
    connection: Any = pool.connection_class(**{**pool.connection_kwargs, **soon})
    try:
        connection.connect()
        connection.send_command("PING")
        connection.read_response()
    except (RedisError, OSError):
        return False
    finally:
        connection.disconnect()
    return True
