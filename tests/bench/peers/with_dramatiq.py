"""The job on dramatiq."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from tests.bench.peers import job

dramatiq.set_broker(RedisBroker(url=os.environ[job.URL]))


@dramatiq.actor
def evaluate(name: str) -> None:
    job.evaluate(name)


def send(names: list[str]) -> None:
    for name in names:
        evaluate.send(name)
