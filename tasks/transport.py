"""Kombu's Redis transport, mended: one client a channel, not one a message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis


@contextmanager
def _conn_or_acquire(channel: Any, client: Any = None) -> Iterator[Any]:
    """The channel's own client. Kombu makes a new one for every message, which costs more than the message's way."""
    if client is None:
        pool, client = channel.__dict__.get("s6_client", (None, None))
        if pool is not channel.pool:
            client = channel._create_client()
            channel.s6_client = (channel.pool, client)
    yield client


def mend() -> None:
    """For every channel opened from now on (Sentinel's are of the same kind)."""
    redis.Channel.conn_or_acquire = _conn_or_acquire  # type: ignore[method-assign, assignment]
