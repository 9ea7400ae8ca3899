"""Alerts are published at every beat; whatever is away then is tried again with the next."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from redis.exceptions import RedisError

from s6.ports import StateUnavailable
from s6.store import StoreUnavailable
from tasks import base
from tasks.alerts import publish


class Log:
    """The alert log, which may have a trouble."""

    def __init__(self, trouble: Exception | None) -> None:
        self.trouble, self.published = trouble, 0

    def publish(self) -> None:
        self.published += 1
        if self.trouble is not None:
            raise self.trouble


def published(monkeypatch: pytest.MonkeyPatch, trouble: Exception | None) -> int:
    log = Log(trouble)
    monkeypatch.setattr(base.services, "_services", SimpleNamespace(alerts=log))
    publish.run()
    return log.published


@pytest.mark.parametrize("trouble", [None, RedisError("away"), StateUnavailable("away"), StoreUnavailable("away")])
def test_they_are_published_whatever_is_away(monkeypatch: pytest.MonkeyPatch, trouble: Exception | None) -> None:
    assert published(monkeypatch, trouble) == 1


def test_a_mistake_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError):
        published(monkeypatch, TypeError("a mistake"))
