"""`s6 up`: runs Redis, the paper neighbours and every Procfile process on one machine, in the foreground."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

import requests

import s6
from s6.settings import NEIGHBOUR_URLS, load_settings
from s6.standalone.environment import LocalSetup, UpError, make_environment, paper_arguments
from s6.standalone.guardian import guardian
from s6.standalone.redis_server import EmbeddedError
from s6.standalone.redis_single import EmbeddedRedis
from s6.standalone.supervisor import Printer, Supervised, process_types
from s6.store import open_store

__all__ = ["UpError", "up"]

ROOT: Final = Path(s6.__file__).resolve().parent.parent
#: The groups end in this order: those that take new work in first, the neighbours last.
ORDER: Final = (("web", "beat", "flower"), ("listener",), ("worker",), ("paper",))
STOP_S: Final = 8.0
#: After this time the next group is asked to end too.
GROUP_S: Final = 2.5
HEALTHY_S: Final = 90.0
#: One Ctrl-C may arrive twice, from the terminal and from make; a later signal means impatience.
ASKED_AGAIN_S: Final = 1.0


def up(options: argparse.Namespace) -> int:
    """Run until SIGTERM, Ctrl-C or the end of the terminal. When it returns, every process has ended.

    Returns the exit code. Raises ``UpError``, ``SettingsError``, ``EmbeddedError`` or ``OSError`` if it cannot start.
    """
    ended = _Ended()
    setup = LocalSetup(options)
    environment = make_environment(setup, dict(os.environ))
    load_settings(environment, need=() if setup.paper else NEIGHBOUR_URLS.values())
    printer = Printer(on_broken_pipe=ended.set)
    for note in setup.notes:
        printer.say(note)
    system = _LocalSystem(setup, environment, printer)
    try:
        system.start()
        system.watch(ended)
    finally:
        system.stop(ended)
    return 0


class _Ended(threading.Event):
    """The event of the first signal to end. A second signal sets ``impatient``."""

    def __init__(self) -> None:
        super().__init__()
        self.impatient = False
        self._first = 0.0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._heard)

    def _heard(self, number: int, frame: object) -> None:
        if not self.is_set():
            self._first = time.monotonic()
            self.set()
        elif time.monotonic() > self._first + ASKED_AGAIN_S:
            self.impatient = True


class _LocalSystem:
    def __init__(self, setup: LocalSetup, environment: dict[str, str], printer: Printer) -> None:
        self._setup, self._environment, self._printer = setup, environment, printer
        self._redis: EmbeddedRedis | None = setup.redis
        self._children: list[Supervised] = []

    def start(self) -> None:
        if self._redis is not None:
            self._redis.start()
            self._printer.say(f"Redis on {self._redis.address}, data in {self._redis.folder}")
        store = open_store(self._environment["S6_STORE_URL"])
        store.init()
        store.close()
        if self._setup.paper:
            self._launch("paper", [sys.executable, "-m", "s6.cli", *paper_arguments(self._setup)])
        for name, line in process_types(ROOT / "Procfile").items():
            if name != "flower" or self._setup.flower:
                self._launch(name, ["/bin/sh", "-c", f"exec {line}"])

    def watch(self, ended: threading.Event) -> None:
        """Restart what ends, until ``ended`` is set. Show the box as soon as S6 is healthy."""
        deadline, asked, shown = time.monotonic() + HEALTHY_S, 0.0, False
        while not ended.wait(0.25):
            self._revive()
            if shown or time.monotonic() < asked + 1:
                continue
            asked = time.monotonic()
            if self._healthy() or asked > deadline:
                shown = True
                self._printer.box(self._setup.summary(self._environment, healthy=self._healthy()))

    def stop(self, ended: _Ended) -> None:
        self._printer.say("stopping")
        deadline = time.monotonic() + STOP_S
        for names in ORDER:
            group = [child for child in self._children if child.name in names]
            for child in group:
                child.terminate()
            patience = min(deadline, time.monotonic() + GROUP_S)
            while any(child.alive for child in group) and time.monotonic() < patience and not ended.impatient:
                time.sleep(0.02)
        while any(child.alive for child in self._children) and time.monotonic() < deadline and not ended.impatient:
            time.sleep(0.02)
        for child in self._children:
            if child.kill():
                self._printer.say(f"{child.name} did not stop in time and was killed")
        if self._redis is not None:
            self._redis.stop()
        guardian().close()
        self._printer.say("stopped; nothing is left running")

    def _launch(self, name: str, command: list[str]) -> None:
        child = Supervised(name, command, cwd=ROOT, environment=self._environment, printer=self._printer)
        child.start()
        self._children.append(child)

    def _revive(self) -> None:
        if self._redis is not None and not self._redis.alive:
            self._printer.say("Redis ended; starting it again")
            try:
                self._redis.start()
            except EmbeddedError as error:
                self._printer.say(f"Redis doesn't start: {error}")
                time.sleep(1)
        for child in self._children:
            child.revive()

    def _healthy(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self._environment['PORT']}/health", timeout=3).status_code == 200
        except requests.RequestException:
            return False
