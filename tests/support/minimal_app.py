"""The smallest Celery app: shows that nodes and harness work, whatever becomes of S6's own tasks."""

from __future__ import annotations

import os

from celery import Celery

from s6.adapters.redis_client import connect
from tasks.patch_kombu import patch_kombu

patch_kombu()
app = Celery("minimal", broker=os.environ.get("S6_BROKER_URL"))
app.conf.update(task_ignore_result=True, broker_connection_retry_on_startup=True)


@app.task(name="count")
def count(key: str) -> None:
    """Count up ``key`` in S6's Redis."""
    with connect(os.environ["S6_REDIS_URL"]) as client:
        client.incr(key)
