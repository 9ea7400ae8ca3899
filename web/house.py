"""What the web asks of the position manager, and the one instance that each process makes of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from flask import current_app
from redis.exceptions import RedisError

from s6.ports import Clock, State, StateUnavailable
from s6.settings import Settings
from s6.store import Page, Store
from s6.treasury import Treasury

log = logging.getLogger(__name__)

Json = Mapping[str, object]


class PlanView(Protocol):
    """What an evaluation decided."""

    def as_dict(self) -> Json:
        """The answer to the caller: `plan` and `orders`."""


class Governor(Protocol):
    def manage(self, position_id: str, symbol: str, market: str, action: str, by: str, reason: str) -> PlanView: ...


class AlertBook(Protocol):
    def page(self, *, limit: int, cursor: str | None, severity: str | None, standing: bool | None) -> Page: ...

    def ack(self, alert_id: str, *, by: str, note: str) -> Json | None:
        """The alert, acknowledged; None when there is no such alert."""


class Metrics(Protocol):
    def render(self) -> str:
        """Prometheus text."""


class House(Protocol):
    """The parts of ``s6.bootstrap.House`` that the web uses."""

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def state(self) -> State: ...
    @property
    def store(self) -> Store: ...
    @property
    def governor(self) -> Governor: ...
    @property
    def alerts(self) -> AlertBook: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def treasury(self) -> Treasury: ...

    def health(self) -> Json: ...


class LazyHouse:
    """Builds the house when it is first asked for: after the fork, and again when Redis was away the first time."""

    def __init__(self, settings: Settings, build: Callable[[Settings], House]) -> None:
        self.settings = settings
        self._build = build
        self._lock = threading.Lock()
        self._house: House | None = None

    def __call__(self) -> House:
        """The house. Raises ``StateUnavailable`` when it cannot be built because Redis is away."""
        if self._house is None:
            with self._lock:
                if self._house is None:
                    self._house = self._make()
        return self._house

    def _make(self) -> House:
        try:
            return self._build(self.settings)
        except RedisError as error:
            raise StateUnavailable(str(error)) from error


def lazy_house() -> LazyHouse:
    """The current app's holder of the house: its settings need no Redis."""
    return cast(LazyHouse, current_app.extensions["s6"])


def house() -> House:
    """The current app's house."""
    return lazy_house()()
