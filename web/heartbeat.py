"""The heartbeat of a web process, from its start to its end."""

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
    """Builds the app's services as soon as Redis answers, then sends heartbeats."""

    def __init__(self, app: Flask) -> None:
        self._services: LazyServices = app.extensions["s6"]
        self._heartbeat: Heartbeat | None = None

    def round(self) -> float:
        """Build the services, or send a heartbeat. Returns the pause before the next round, in s."""
        if self._heartbeat is None:
            try:
                services = self._services()
            except StateUnavailable as error:
                log.warning("no heartbeat yet: %s", error)
                return _TRY_AGAIN_S
            self._heartbeat = Heartbeat(services.redis, "web", services.clock)
        return self._heartbeat.round()

    def close(self) -> None:
        """Delete the heartbeat, so that the process counts as gone at once."""
        if self._heartbeat is not None:
            self._heartbeat.close()
