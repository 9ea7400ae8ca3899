"""Beat without a memory: any number of copies may run, since every task it sends is single-flight by itself.

No schedule file and no leader lock, so a beat that dies is replaced by the next one at once. What it sends never
expires: instead it sends nothing to a queue that nobody works off.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from celery.beat import ScheduleEntry, Scheduler
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from s6.health.heartbeat import EVERY_S, send_heartbeat
from s6.ports import StateUnavailable
from tasks.base import services
from tasks.hints import waiting_in

log = logging.getLogger(__name__)

MOST_WAITING: Final = 2


class BeatScheduler(Scheduler):
    """Celery's own in-memory scheduler, with a heartbeat for ``/health`` and a bound on what waits in the queues."""

    _beaten_at = 0.0

    def tick(self, *args: Any, **kwargs: Any) -> Any:
        if time.monotonic() - self._beaten_at >= EVERY_S:
            self._beaten_at = time.monotonic()
            try:
                send_heartbeat(services().redis, "beat", services().clock.now_ms())
            except (RedisError, StateUnavailable) as error:
                log.warning("no heartbeat: %s", error)
        return super().tick(*args, **kwargs)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send the entry's task, unless two tasks wait in its queue already."""
        queue = self.app.amqp.router.route({}, entry.task)["queue"].name
        try:
            waiting = waiting_in(self.producer.channel, queue)
        except (KombuError, RedisError, OSError) as error:
            log.warning("queue %s was not looked at: %s", queue, error)
            return
        if waiting >= MOST_WAITING:
            log.info("%s not sent: %d tasks wait in queue %s", entry.task, waiting, queue)
            return
        super().apply_entry(entry, producer)
