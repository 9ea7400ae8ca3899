"""Kombu's Redis transport, mended: one client a channel, no notes in the broker of what was handed out, and a broker
that was lost is looked for every second.

Why: docs/decisions/0010-the-broker-keeps-no-notes.md.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.connection import Connection
from kombu.exceptions import KombuError
from kombu.transport import redis, virtual
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


class InMemoryQoS(virtual.QoS):
    """What this worker holds, known to itself alone; what it has not begun goes back when it ends.

    With the broker out of reach there is nowhere to put it back: whatever was to be done is asked for again.
    """

    restore_at_shutdown = True

    def restore_unacked(self) -> list[Any]:
        self._flush()  # type: ignore[no-untyped-call]
        transport = self.channel.connection
        reachable = transport is not None and transport.client is not None
        while reachable and self._delivered:
            _, message = self._delivered.popitem()
            try:
                self.channel._restore(message)
            except (KombuError, RedisError, OSError) as error:
                reachable = False
                log.warning("%d tasks are not put back: %s", len(self._delivered) + 1, error)
        self._delivered.clear()
        return []


def _restore(channel: Any, message: Any, leftmost: bool = False) -> None:
    virtual.Channel._restore(channel, message)


@contextmanager
def _conn_or_acquire(channel: Any, client: Any = None) -> Iterator[Any]:
    """The channel's own client. Kombu makes a new one for every message, which costs more than the message's way."""
    if client is None:
        pool, client = channel.__dict__.get("s6_client", (None, None))
        if pool is not channel.pool:
            client = channel._create_client()
            channel.s6_client = (channel.pool, client)
    yield client


_ensure = Connection.ensure_connection


def _ensure_soon(connection: Connection, *args: Any, **pace: float) -> Any:
    """Once a second at least: Celery would wait up to half a minute, and positions with it, though Redis is back."""
    quick = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
    return _ensure(connection, *args, **quick | pace)  # type: ignore[no-untyped-call]


def patch_kombu() -> None:
    """For every channel opened from now on (Sentinel's are of the same kind), and every connection made again."""
    Connection.ensure_connection = _ensure_soon  # type: ignore[method-assign, assignment]
    redis.Channel.QoS = InMemoryQoS  # type: ignore[assignment]
    redis.Channel._restore = _restore  # type: ignore[method-assign]
    redis.Channel.conn_or_acquire = _conn_or_acquire  # type: ignore[method-assign, assignment]
