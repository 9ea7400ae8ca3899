"""Sends the worker's heartbeat from its event loop: when the loop hangs, the heartbeat stops and the process ends."""

from __future__ import annotations

import logging
import os
import time
from typing import Any, Final

from celery import bootsteps
from celery.signals import setup_logging
from redis.exceptions import RedisError

from s6.health.heartbeat import send_heartbeat
from s6.logs import configure_logging
from s6.ports import StateUnavailable
from s6.threads import LoopThread
from tasks.app import app
from tasks.base import services

log = logging.getLogger(__name__)
EVERY_S: Final = 2.0
HANGS_S: Final = 45.0


class LoopWatchdog(bootsteps.StartStopStep):
    """Beats from the loop's timer; a thread beside it ends the process when the loop has not come round for long."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        self._last = time.monotonic()
        self._thread = LoopThread("loop-watchdog", self._watch)

    def start(self, parent: Any) -> None:
        self._thread.start()
        self._beat()
        parent.timer.call_repeatedly(EVERY_S, self._beat)

    def stop(self, parent: Any) -> None:
        self._thread.stop()

    terminate = stop

    def _beat(self) -> None:
        self._last = time.monotonic()
        if not self._thread.is_alive():
            log.error("nobody watches over the worker's loop: no heartbeat")
            return
        try:
            send_heartbeat(services().redis, "worker", services().clock.now_ms())
        except (RedisError, StateUnavailable) as error:
            log.warning("no heartbeat: %s", error)

    def _watch(self) -> float:
        if time.monotonic() - self._last > HANGS_S:
            log.critical("the worker's loop has hung for %s s: the process ends, to be started anew", HANGS_S)
            os._exit(70)
        return EVERY_S


app.steps["worker"].add(LoopWatchdog)


@setup_logging.connect
def _logging(**_: Any) -> None:
    configure_logging(app.conf["settings"])
