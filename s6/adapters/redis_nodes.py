"""Which nodes of a cluster hang: commands for one of them fail at once, and those for the others go on.

A thread of the client's own asks each node again and again whether it answers. So every process knows of a node that
hangs before its first command for it has timed out, and what goes from process to process waits for it once at most.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from redis.cluster import ClusterNode
from redis.exceptions import ConnectionError, RedisClusterException, RedisError

from s6.threads import LoopThread

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.2
#: A node that has not answered for so long hangs. With the pause it is less than a command waits for an answer.
ANSWER_S: Final = 0.4
#: How often to look whether another node has taken the place of one that hangs.
REFRESH_S: Final = 0.5
#: A client that is not used for so long asks no more. It begins anew with the next command.
IDLE_S: Final = 30.0


class NodeAway(ConnectionError):
    """One node of the cluster does not answer; the others may. The command may or may not have been carried out."""


class HungNodes:
    """The nodes that hang, or refuse to be connected to; threads share it.

    Parameters
    ----------
    nodes
        Returns the nodes to ask, each with its ``redis_connection``.
    refresh
        Looks anew which node has which slots. It may raise ``RedisError`` and ``RedisClusterException``.
    """

    def __init__(self, nodes: Callable[[], Iterable[ClusterNode]], refresh: Callable[[], object]) -> None:
        self._nodes = nodes
        self._refresh = refresh
        self._refresh_at = 0.0
        self._hung: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._loop: LoopThread | None = None
        self._used_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._hung)

    def names(self) -> frozenset[str]:
        """Return the names of the nodes that hang."""
        return self._hung

    def check(self, node: ClusterNode) -> None:
        """Return if the node may be asked. Raises ``NodeAway``."""
        if self.hangs(node):
            raise NodeAway(f"{node.name} hangs")

    def hangs(self, node: ClusterNode) -> bool:
        """Return whether the node may not be asked."""
        self._used_at = time.monotonic()
        if self._loop is None:
            self._begin()
        return node.name in self._hung

    def close(self) -> None:
        """Ask no more, until the next command."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()

    def _begin(self) -> None:
        with self._lock:
            if self._loop is None:
                lines: dict[str, _Line] = {}
                self._loop = LoopThread("redis-nodes", partial(self._round, lines), partial(self._hang_up, lines))
                self._loop.start()

    def _round(self, lines: dict[str, _Line]) -> float:
        """Ask each node and wait a little for the answers. Returns the pause before the next round, in s."""
        if time.monotonic() - self._used_at > IDLE_S:
            self.close()
            return 0.0
        _follow(lines, {node.name: node for node in self._nodes()})
        for line in lines.values():
            line.ask()
        until = time.monotonic() + ANSWER_S
        hung = frozenset(name for name, line in lines.items() if not line.answers(self._wait_s(name, until)))
        for name in hung - self._hung:
            log.warning("%s hangs: what is on it waits", name)
        for name in self._hung - hung:
            log.warning("%s answers again, or has no slots any more", name)
        self._hung = hung
        if hung and time.monotonic() >= self._refresh_at:
            self._look_anew()
        return PAUSE_S

    def _wait_s(self, name: str, until: float) -> float:
        return 0.0 if name in self._hung else max(0.0, until - time.monotonic())

    def _look_anew(self) -> None:
        try:
            self._refresh()
        except (RedisError, RedisClusterException) as error:
            log.warning("the cluster was not looked at: %s", error)
        self._refresh_at = time.monotonic() + REFRESH_S

    def _hang_up(self, lines: dict[str, _Line]) -> None:
        self._hung = frozenset()
        _follow(lines, {})


class _Line:
    """A connection to a node with at most one ``PING`` under way, so that a node that hangs is not asked twice."""

    def __init__(self, node: ClusterNode) -> None:
        pool = node.redis_connection.connection_pool
        soon = {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S}
        self._connection: Any = pool.connection_class(**{**pool.connection_kwargs, **soon})
        self._asked = False

    def ask(self) -> None:
        """Send a ``PING``, unless one is under way or the node cannot be connected to."""
        if self._asked:
            return
        try:
            self._connection.connect()
            self._connection.send_command("PING")
            self._asked = True
        except (RedisError, OSError):
            self.hang_up()

    def answers(self, within_s: float) -> bool:
        """Return whether the answer is there, after a wait."""
        try:
            if not self._asked or not self._connection.can_read(within_s):
                return False
            self._connection.read_response()
        except (RedisError, OSError):
            self.hang_up()
            return False
        self._asked = False
        return True

    def hang_up(self) -> None:
        self._connection.disconnect()
        self._asked = False


def _follow(lines: dict[str, _Line], nodes: dict[str, ClusterNode]) -> None:
    """Have a line to each of these nodes, and to no other."""
    for name in lines.keys() - nodes.keys():
        lines.pop(name).hang_up()
    for name in nodes.keys() - lines.keys():
        lines[name] = _Line(nodes[name])
