"""The real processes of S6, started by their lines in the Procfile, each to be killed, stopped or frozen at will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import requests
from redis.exceptions import RedisError

from s6.adapters.redis_client import connect
from s6.model import jsonx
from s6.standalone.free_ports import free_port
from s6.standalone.guardian import guardian
from s6.standalone.supervisor import process_types
from tests.support.paper_client import PaperClient
from tests.support.waiting import wait_for

ROOT: Final = Path(__file__).resolve().parents[2]
BIN: Final = Path(sys.executable).parent
CORE: Final = ("web", "worker", "beat", "listener")
STOP_S: Final = 10.0


def procfile() -> dict[str, str]:
    """Process types and their command lines."""
    return process_types(ROOT / "Procfile")


class Process:
    """One real process; its output, both streams, is in ``log``. Survives nobody: see ``s6.standalone.guardian``."""

    def __init__(self, name: str, command: str | list[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        words = ["/bin/sh", "-c", f"exec {command}"] if isinstance(command, str) else command
        with self.log.open("ab") as log:
            self.popen: subprocess.Popen[bytes] = guardian().popen(
                words, cwd=ROOT, env={**env, "PYTHONUNBUFFERED": "1"}, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait()

    def terminate(self) -> None:
        """SIGTERM; returns at once."""
        self.popen.terminate()

    def stop(self, within_s: float = STOP_S) -> int:
        """SIGTERM and its exit code; AssertionError (and SIGKILL) when it takes longer than ``within_s``."""
        self.thaw()
        self.terminate()
        try:
            return self.popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {within_s:g} s of SIGTERM:\n{self.tail()}") from None

    def freeze(self) -> None:
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.output().splitlines()[-lines:])


class S6Processes:
    """A running S6: ``start`` what you need, ``ready`` waits for it, leaving the context ends all of it.

    Parameters
    ----------
    folder
        For logs and the store.
    env
        S6's variables, over ``PATH`` and a store and ports of their own; nothing else of the tester's environment.
    """

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.env = {
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": os.environ.get("HOME", str(folder)),
            "LANG": "C.UTF-8",
            "S6_STORE_URL": f"sqlite:///{folder / 's6.db'}",
            "PORT": str(free_port()),
            "FLOWER_PORT": str(free_port()),
            **env,
        }
        self.started: list[Process] = []

    @property
    def url(self) -> str:
        """Of the web process."""
        return f"http://127.0.0.1:{self.env['PORT']}"

    def __getitem__(self, name: str) -> Process:
        """The newest process of that name."""
        return next(process for process in reversed(self.started) if process.name == name)

    def start(self, *names: str, env: Mapping[str, str] | None = None, cut: str = "") -> Process:
        """Start these process types (again, or once more), without the lines in ``cut`` (``tests.support.cut``).

        Returns the last one started.
        """
        lines = procfile()
        for name in names:
            command = f"{sys.executable} -m tests.support.cut {cut} {lines[name]}" if cut else lines[name]
            self.run(name, command, env=env)
        return self.started[-1]

    def run(self, name: str, command: str | list[str], *, env: Mapping[str, str] | None = None) -> Process:
        """Start any other command in the same environment, under a name of its own."""
        process = Process(name, command, self.folder, {**self.env, **(env or {})})
        self.started.append(process)
        return process

    def start_paper(self, *arguments: str) -> PaperClient:
        """Start paper neighbours for the processes started from now on, with a market that is moved by hand.

        ``arguments`` go to ``s6 paper`` besides.
        """
        port = free_port()
        paper = PaperClient(f"http://127.0.0.1:{port}")
        command = [str(BIN / "s6"), "paper", "--port", str(port), "--market", "manual", "--no-strategy"]
        process = self.run("paper", [*command, *arguments])
        self._wait(process, lambda: _answers(f"{paper.base_url}/control/health"), 30)
        self.env.update(paper.neighbour_urls())
        return paper

    def ready(self, names: Iterable[str] = CORE, timeout: float = 60.0) -> Self:
        """Wait until the newest of each is at work: heartbeats in Redis, and for ``web`` any answer of ``/health``."""
        for name in names:
            self._wait(self[name], lambda name=name: self._at_work(self[name]), timeout)  # type: ignore[misc]
        return self

    def healthy(self, timeout: float = 60.0) -> Self:
        """Wait until ``/health`` answers 200."""
        self._wait(self["web"], lambda: self.health() == 200, timeout)
        return self

    def health(self) -> int:
        """The status of ``GET /health``; 0 without an answer."""
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code
        except requests.RequestException:
            return 0

    def end(self) -> None:
        """End every process: SIGTERM to all, SIGKILL to what is still there after a while."""
        for process in self.started:
            if process.alive:
                process.thaw()
                process.terminate()
        for process in self.started:
            try:
                process.popen.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()

    def tails(self) -> str:
        """The last lines of every log, for a failing test's report."""
        return "\n".join(f"--- {process.name} (pid {process.pid})\n{process.tail()}" for process in self.started)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()
        if error is not None:
            print(self.tails())

    def _wait(self, process: Process, done: Callable[[], bool], timeout: float) -> None:
        def looked() -> bool:
            if not process.alive:
                raise AssertionError(f"{process.name} ended with {process.popen.returncode}:\n{process.tail()}")
            return done()

        try:
            wait_for(looked, timeout, f"{process.name} at work", every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tails()}") from None

    def _at_work(self, process: Process) -> bool:
        if process.name == "web":
            return self.health() != 0
        if process.name == "flower":
            return _answers(f"http://127.0.0.1:{self.env['FLOWER_PORT']}/healthcheck")
        return process.pid in self._heartbeats(process.name)

    def _heartbeats(self, role: str) -> set[int]:
        """Process ids that write ``s6:alive:ROLE:ID`` now."""
        try:
            with connect(self.env["S6_REDIS_URL"]) as client:
                beats = [client.get(key) for key in client.scan_iter(f"s6:alive:{role}:*", count=1000)]
        except RedisError:
            return set()
        return {int(jsonx.loads(str(beat))["pid"]) for beat in beats if beat}


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
