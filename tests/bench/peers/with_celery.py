"""The job on plain Celery: its own defaults but for the pool, which is S6's."""

from __future__ import annotations

import os

from celery import Celery

from tests.bench.peers import job

app = Celery("peers", broker=os.environ[job.URL])
app.conf.task_ignore_result = True


@app.task(name="peers.evaluate")
def evaluate(name: str) -> None:
    job.evaluate(name)


def send(names: list[str]) -> None:
    for name in names:
        evaluate.delay(name)
