"""Patches Kombu's Redis transport: one client a channel, no records in the broker of delivered messages, and a lost
broker is tried every second.

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
    """Keeps the messages that this worker holds in memory. Those not begun go back to the queue when it ends.

    With the broker out of reach they are dropped: the sweep asks for their work again.
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
    """Yield the channel's own client. Kombu makes one for every message, which costs more than sending it."""
    if client is None:
        pool, client = channel.__dict__.get("s6_client", (None, None))
        if pool is not channel.pool:
            client = channel._create_client()
            channel.s6_client = (channel.pool, client)
    yield client


_ensure = Connection.ensure_connection


def _ensure_soon(connection: Connection, *args: Any, **pace: float) -> Any:
    """Connect, trying once a second at least. Celery would wait up to half a minute after Redis is back."""
    quick = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
    return _ensure(connection, *args, **quick | pace)  # type: ignore[no-untyped-call]


def patch_kombu() -> None:
    """Patch every channel opened from now on (Sentinel's too), and every connection made again."""
    Connection.ensure_connection = _ensure_soon  # type: ignore[method-assign, assignment]
    redis.Channel.QoS = InMemoryQoS  # type: ignore[assignment]
    redis.Channel._restore = _restore  # type: ignore[method-assign]
    redis.Channel.conn_or_acquire = _conn_or_acquire  # type: ignore[method-assign, assignment]
