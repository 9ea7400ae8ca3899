"""The job on huey."""

from __future__ import annotations

import os

from huey import RedisHuey

from tests.bench.peers import job

huey = RedisHuey("peers", url=os.environ[job.URL], results=False)


@huey.task()
def evaluate(name: str) -> None:
    job.evaluate(name)


def send(names: list[str]) -> None:
    for name in names:
        evaluate(name)
