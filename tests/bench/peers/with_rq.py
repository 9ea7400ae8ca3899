"""The job on rq. Its worker without a fork for each job: the faster one."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue

from tests.bench.peers import job


def send(names: list[str]) -> None:
    queue = Queue("peers", connection=Redis.from_url(os.environ[job.URL]))
    for name in names:
        queue.enqueue(job.evaluate, name, result_ttl=0)
