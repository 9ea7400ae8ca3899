"""A broker in memory, and what a worker would take from it; a task's own face, for calling its body by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import Empty
from types import SimpleNamespace
from typing import Any

from kombu.transport.memory import Channel

from tasks.app import app


@dataclass(frozen=True)
class Sent:
    """A task as it lies in the broker. ``rest`` are the links behind it, the next first."""

    queue: str
    name: str
    args: tuple[object, ...]
    priority: int
    delayed: bool
    expires: bool
    rest: tuple[tuple[str, object, dict[str, object]], ...] = ()


class Broker:
    """Every queue of the application."""

    def taken(self) -> list[Sent]:
        """What was sent since the last look, queue by queue in the order of sending."""
        with app.connection_for_read() as connection, connection.channel() as channel:
            names = [queue.name for queue in app.conf.task_queues]
            return [sent for name in names for sent in self._of(channel, name)]

    def _of(self, channel: Any, name: str) -> Iterator[Sent]:
        while True:
            try:
                message = channel._get(name)
            except (Empty, KeyError):
                return
            yield _read(name, message)


def _read(queue: str, message: dict[str, Any]) -> Sent:
    headers, properties = message["headers"], message["properties"]
    body = message["body"]
    text = base64.b64decode(body) if properties.get("body_encoding") == "base64" else body
    args, _, embedded = json.loads(text)
    links = embedded.get("chain") or ()
    rest = tuple((link["task"], tuple(link["args"]), dict(link["options"])) for link in reversed(links))
    delayed, expires = headers["eta"] is not None, headers["expires"] is not None
    return Sent(queue, headers["task"], tuple(args), properties["priority"], delayed, expires, rest)


def in_memory() -> Broker:
    """The broker of this process's tasks, empty: nothing here ever speaks to a real one."""
    app.conf.broker_url = app.conf.broker_write_url = app.conf.broker_read_url = "memory://"
    Channel.queues.clear()
    return Broker()


class Retried(Exception):
    """What Celery raises when a task is to be tried again."""


@dataclass
class Face:
    """What a bound task sees as ``self``."""

    name: str = "tasks.test"
    retries: int = 0
    priority: int | None = None
    retried: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        delivery = {} if self.priority is None else {"priority": self.priority}
        self.request = SimpleNamespace(retries=self.retries, delivery_info=delivery, chain=["a link"])

    def retry(self, **options: Any) -> Exception:
        self.retried.append(options)
        return Retried()


def call(task: Any, *args: Any, face: Face | None = None) -> Face:
    """Run a bound task's body; its face afterwards. Raises what the body raises."""
    face = face or Face(task.name)
    task.run.__func__(face, *args)
    return face
