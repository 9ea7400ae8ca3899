"""pytest-celery's nodes as local processes: its containers are a Redis server and a Celery worker here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_celery import CeleryTestContainer, CeleryTestWorker

from s6.standalone.redis_single import EmbeddedRedis
from tests.support.procs import STOP_S, Process
from tests.support.waiting import wait_for

WORKER_NAME = "s6@test"


class LocalContainer(CeleryTestContainer):
    """The part of a container's face that pytest-celery's nodes use; deliberately without a container behind it."""

    def __init__(self) -> None:
        """Not the base's: that one wants Docker."""

    def reload(self) -> None:
        """Nothing is cached here."""


class RedisContainer(LocalContainer):
    """A broker: database 1 of an embedded Redis."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.server = server

    @property
    def id(self) -> str:
        return self.server.address

    @property
    def name(self) -> str:
        return "redis"

    @property
    def status(self) -> str:
        return "running" if self.server.alive else "exited"

    @property
    def celeryconfig(self) -> dict[str, str]:
        return {"url": self.server.url(1), "host_url": self.server.url(1)}

    def ready(self) -> bool:
        return self.server.alive

    def kill(self, signal: str | int = "SIGKILL") -> None:
        if signal == "SIGKILL":
            self.server.kill()
        else:
            self.server.stop()

    def restart(self, timeout: float = STOP_S) -> None:
        self.server.restart()

    def logs(self) -> str:
        return self.server.log.read_text(errors="replace")

    def teardown(self) -> None:
        self.server.stop()


class WorkerContainer(LocalContainer):
    """A Celery worker, made by ``start``."""

    def __init__(self, start: Callable[[], Process]) -> None:
        self._start = start
        self.process = start()

    @property
    def id(self) -> str:
        return str(self.process.pid)

    @property
    def name(self) -> str:
        return WORKER_NAME

    @property
    def status(self) -> str:
        return "running" if self.process.alive else "exited"

    def ready(self) -> bool:
        return wait_for(lambda: f"{WORKER_NAME} ready." in self.logs(), 60, "the worker", every=0.1)

    def kill(self, signal: str | int = "SIGKILL") -> None:
        if signal == "SIGKILL":
            self.process.kill()
        else:
            self.process.stop()

    def restart(self, timeout: float = STOP_S) -> None:
        if self.process.alive:
            self.process.stop(timeout)
        self.process.log.unlink()
        self.process = self._start()
        self.ready()

    def logs(self) -> str:
        return self.process.output()

    def teardown(self) -> None:
        if self.process.alive:
            self.process.stop()


class LocalWorker(CeleryTestWorker):
    """A worker node known by the name it was started with."""

    def __init__(self, container: WorkerContainer, app: Any = None) -> None:
        super().__init__(container, app)

    def hostname(self) -> str:
        return WORKER_NAME
