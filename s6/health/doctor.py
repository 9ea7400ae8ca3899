"""`s6 doctor`: checks everything that the settings point to, and prints one line for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

import requests
from kombu.connection import Connection
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from s6.adapters.redis_client import connect
from s6.settings import Settings
from s6.store import StoreError, open_store
from s6.urls import mask_url

NEIGHBOUR_TIMEOUT_S: Final = (1, 3)


class Unwell(Exception):
    """A check failed; the text says what is wrong, for people."""


def examine(settings: Settings) -> int:
    """Check everything and print a line for each. Returns the exit code: 0 if all is well, else 1."""
    checks: list[tuple[str, str, Callable[[], str]]] = [
        ("redis", str(settings.redis), lambda: _redis(settings)),
        ("broker", mask_url(settings.broker.url), lambda: _broker(settings)),
        ("store", mask_url(settings.store_url), lambda: _store(settings)),
    ]
    for name, url in settings.neighbours.items():
        checks.append((name, mask_url(url), lambda url=url: _neighbour(url)))  # type: ignore[misc]
    return max([_report(name, where, check) for name, where, check in checks])


def _report(name: str, where: str, check: Callable[[], str]) -> int:
    began = time.monotonic()
    try:
        verdict, note, failed = "ok", check(), 0
    except Unwell as error:
        verdict, note, failed = "FAIL", str(error), 1
    took_ms = (time.monotonic() - began) * 1000
    print(f"{verdict:<5}{name:<8}{where}  {took_ms:.0f} ms{f'  {note}' if note else ''}", flush=True)
    return failed


def _redis(settings: Settings) -> str:
    with _unwell(RedisError), connect(settings.redis) as client:
        client.ping()
        if settings.redis.kind == "cluster":
            return ""
        # A managed Redis may hide its configuration; the check then skips it.
        found = client.info()
    if found.get("maxmemory_policy", "noeviction") != "noeviction":
        raise Unwell(f"its maxmemory-policy is {found['maxmemory_policy']}: live state could vanish; set noeviction")
    return "" if found.get("aof_enabled", 1) else "note: no append-only file, so a restart of Redis is a cold start"


def _broker(settings: Settings) -> str:
    options = {"socket_connect_timeout": 2, "socket_timeout": 3, **settings.broker.options}
    connection = Connection(settings.broker.url, connect_timeout=2, transport_options=options)
    with connection, _unwell(KombuError, OSError):
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=4)
    return ""


def _store(settings: Settings) -> str:
    with _unwell(StoreError, OSError), closing(open_store(settings.store_url)) as store:
        store.ping()
    return ""


def _neighbour(url: str) -> str:
    try:
        answer = requests.get(f"{url}/health", timeout=NEIGHBOUR_TIMEOUT_S)
    except requests.Timeout:
        raise Unwell("no answer in time") from None
    except requests.RequestException as error:
        raise Unwell(f"out of reach ({type(error).__name__})") from None
    if answer.status_code != 200:
        raise Unwell(f"GET /health answered {answer.status_code}")
    return ""


@contextmanager
def _unwell(*errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise Unwell(" ".join(f"{type(error).__name__}: {error}".split())) from error
