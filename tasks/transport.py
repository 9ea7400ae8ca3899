"""Kombu's Redis transport, mended: a worker must outlive its broker.

A connection that was lost while tasks were at work is taken apart at once; what those tasks then still acknowledge, and
the clean-up that wants to put messages back, fail with an ``AttributeError`` that ends the worker. Here they fail with
what it is, a lost connection, and that Celery bears. Nothing is lost by it: the messages stand in the broker's
``unacked`` hash, come back after the visibility timeout, and the sweep is quicker.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError


class PatientQoS(redis.QoS):
    """Acknowledgements that know whether their connection is still there."""

    def ack(self, delivery_tag: str) -> None:
        self._connected()
        super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        self._connected()
        super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]

    def restore_unacked(self, client: Any = None) -> None:
        self._connected()
        super().restore_unacked(client)  # type: ignore[no-untyped-call]

    def _connected(self) -> None:
        transport = self.channel.connection
        if transport is None or transport.client is None:
            raise ConnectionError("the broker's connection was lost meanwhile")


def mend() -> None:
    """For every connection made from now on (Sentinel's are of the same kind)."""
    redis.Channel.QoS = PatientQoS
