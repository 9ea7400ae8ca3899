"""A web process's sign of life, from its start to its end."""

from __future__ import annotations

import logging
from typing import Final

from flask import Flask

from s6.health.heartbeat import Heartbeat
from s6.ports import StateUnavailable
from web.services import LazyServices

log = logging.getLogger(__name__)

_TRY_AGAIN_S: Final = 2.0


class WebHeartbeat:
    """Builds the app's services as soon as Redis lets it, and beats from then on."""

    def __init__(self, app: Flask) -> None:
        self._services: LazyServices = app.extensions["s6"]
        self._heart: Heartbeat | None = None

    def round(self) -> float:
        """Build or beat. Returns the pause before the next round, in s."""
        if self._heart is None:
            try:
                services = self._services()
            except StateUnavailable as error:
                log.warning("no heartbeat yet: %s", error)
                return _TRY_AGAIN_S
            self._heart = Heartbeat(services.redis, "web", services.clock)
        return self._heart.round()

    def close(self) -> None:
        """Take the sign of life back."""
        if self._heart is not None:
            self._heart.close()
