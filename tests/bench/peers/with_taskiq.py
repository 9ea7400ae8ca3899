"""The job on taskiq. The job blocks, so that it runs on taskiq's threads."""

from __future__ import annotations

import asyncio
import os

from taskiq_redis import ListQueueBroker

from tests.bench.peers import job

broker = ListQueueBroker(os.environ[job.URL], queue_name="peers")


@broker.task
def evaluate(name: str) -> None:
    job.evaluate(name)


def send(names: list[str]) -> None:
    asyncio.run(_send(names))


async def _send(names: list[str]) -> None:
    await broker.startup()
    for name in names:
        await evaluate.kiq(name)
    await broker.shutdown()
