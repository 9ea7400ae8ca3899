"""What a worker does with the tasks it holds when it ends or loses its broker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

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
