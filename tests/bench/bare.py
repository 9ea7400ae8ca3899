"""A Celery application that does nothing, under the settings of S6's: what a chain costs by itself on this machine."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery
from redis import Redis

app = Celery("bare")
app.config_from_object("celeryconfig")
app.conf.task_routes = {}
app.conf.task_queues = None
app.conf.task_default_queue = "bare"
app.conf.imports = ()
DONE = "bench:bare"


@app.task(name="bare.link")
def link() -> None:
    """Nothing."""


@app.task(name="bare.last")
def last(sent: float, url: str) -> None:
    """Say how long the chain took, from its sending to its end."""
    client: Any = Redis.from_url(url)
    client.rpush(DONE, time.time() - sent)
    client.close()
