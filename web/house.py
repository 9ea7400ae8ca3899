"""The one position manager that each process makes for itself, and where the views find it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import cast

from flask import current_app
from redis.exceptions import RedisError

from s6.bootstrap import House
from s6.ports import StateUnavailable
from s6.settings import Settings

log = logging.getLogger(__name__)

__all__ = ["House", "LazyHouse", "house", "lazy_house"]


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

    def within(self, seconds: float) -> House | None:
        """The house, or None when it could not be built in that time; building it goes on."""
        if self._house is None:
            builder = threading.Thread(target=self._try, name="house", daemon=True)
            builder.start()
            builder.join(seconds)
        return self._house

    def _try(self) -> None:
        try:
            self()
        except StateUnavailable as error:
            log.warning("not built yet: %s", error)

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
