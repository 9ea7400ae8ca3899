"""A web process's sign of life, from its start to its end."""

from __future__ import annotations

import logging
import threading
from typing import Final

from flask import Flask

from s6.health.heartbeat import Heartbeat
from s6.ports import StateUnavailable
from web.services import LazyServices

log = logging.getLogger(__name__)

_TRY_AGAIN_S: Final = 2.0


class WebHeartbeat(threading.Thread):
    """Builds the app's house as soon as Redis lets it, and beats its heart until ``stop``."""

    def __init__(self, app: Flask) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._services: LazyServices = app.extensions["s6"]
        self._heart: Heartbeat | None = None
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                services = self._services()
            except StateUnavailable as error:
                log.warning("no heartbeat yet: %s", error)
                self._ending.wait(_TRY_AGAIN_S)
            else:
                self._heart = Heartbeat(services.redis, "web", services.clock)
                self._heart.run()
                return

    def stop(self) -> None:
        """Fall silent."""
        self._ending.set()
        if self._heart is not None:
            self._heart.stop()
