"""What a worker does with the tasks it holds when it ends or loses its broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.transport import redis

from tasks import patch_kombu
from tasks.patch_kombu import InMemoryQoS


class Channel:
    """As much of a channel as holding needs; ``broken``: putting back fails."""

    do_restore = True

    def __init__(self, *, broken: bool = False, connection: object = None) -> None:
        self.connection = connection or SimpleNamespace(client=object())
        self.broken = broken
        self.tried: list[Any] = []

    def _restore(self, message: Any) -> None:
        self.tried.append(message)
        if self.broken:
            raise ConnectionError("refused")


def held(channel: Channel, *messages: str) -> InMemoryQoS:
    holding: Any = InMemoryQoS(channel)  # type: ignore[no-untyped-call]
    for message in messages:
        holding.append(message, message)
    return holding  # type: ignore[no-any-return]


def test_what_was_not_done_goes_back() -> None:
    channel = Channel()
    holding: Any = held(channel, "a", "b", "c")
    holding.ack("b")
    assert holding.restore_unacked() == []
    assert sorted(channel.tried) == ["a", "c"]
    assert holding.restore_unacked() == []
    assert len(channel.tried) == 2


@pytest.mark.parametrize("tries", [0, 1])
def test_without_a_broker_it_is_let_go_at_once(tries: int) -> None:
    """No attempt for each, and no file of what was lost."""
    channel = Channel(broken=True) if tries else Channel(connection=SimpleNamespace(client=None))
    assert held(channel, "a", "b", "c").restore_unacked() == []
    assert len(channel.tried) == tries


def test_what_is_held_is_put_back_at_the_end() -> None:
    """Celery asks for it only where the QoS says so."""
    assert InMemoryQoS.restore_at_shutdown
    assert vars(redis.Channel)["QoS"] is InMemoryQoS


def test_a_broker_that_is_back_is_found_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, float]] = []
    monkeypatch.setattr(patch_kombu, "_ensure", lambda connection, **pace: asked.append(pace))
    connection: Any = Connection("memory://")
    connection.ensure_connection()
    connection.ensure_connection(interval_max=0.5, max_retries=3)
    pace = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
    assert asked == [pace, {**pace, "interval_max": 0.5, "max_retries": 3}]


def test_a_channel_keeps_its_client_as_long_as_its_pool() -> None:
    made: list[object] = []

    def client() -> object:
        made.append(object())
        return made[-1]

    channel: Any = SimpleNamespace(pool="one", _create_client=client)
    with redis.Channel.conn_or_acquire(channel) as first, redis.Channel.conn_or_acquire(channel) as again:
        assert first is again is made[0]
    channel.pool = "another"
    with redis.Channel.conn_or_acquire(channel) as other, redis.Channel.conn_or_acquire(channel, "given") as given:
        assert (other is made[1], given) == (True, "given")
