"""Beat without a memory: any number of copies may run, since every task it sends is single-flight by itself.

No schedule file and no leader lock, so a beat that dies is replaced by the next one at once.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery.beat import Scheduler
from redis.exceptions import RedisError

from s6.health.heartbeat import EVERY_S, send_heartbeat
from s6.ports import StateUnavailable
from tasks.base import services

log = logging.getLogger(__name__)


class BeatScheduler(Scheduler):
    """Celery's own in-memory scheduler, with a heartbeat for ``/health``."""

    _beaten_at = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        if time.monotonic() - self._beaten_at >= EVERY_S:
            self._beaten_at = time.monotonic()
            try:
                send_heartbeat(services().redis, "beat", services().clock.now_ms())
            except (RedisError, StateUnavailable) as error:
                log.warning("no heartbeat: %s", error)
        return super().tick(*args, **kwargs)
