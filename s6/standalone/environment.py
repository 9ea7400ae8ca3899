"""Chooses the ports, folders and tokens of `s6 up`, and builds the environment of its processes."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import sys
from pathlib import Path
from typing import Final

from s6.settings import NEIGHBOUR_URLS
from s6.standalone.free_ports import free_port, is_free
from s6.standalone.redis_single import EmbeddedRedis
from s6.urls import mask_url

REDIS_PORT: Final = 6379
PAPER_PORT: Final = 8900
WEB_PORT: Final = 8000
FLOWER_PORT: Final = 5555


class UpError(ValueError):
    """`s6 up` cannot start; the text is one line for people."""


class LocalSetup:
    """The ports, the data folder and the embedded Redis that the command line's options lead to.

    ``notes`` names the defaults that were not available. Raises ``UpError``.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.notes: list[str] = []
        self.paper: bool = options.paper
        self.flower: bool = options.flower
        self.options = options
        self.data: Path = options.data.absolute()
        self.data.mkdir(parents=True, exist_ok=True)
        if not self.paper and (options.candles or options.speed is not None or options.seed is not None):
            raise UpError("--candles, --speed and --seed are for the paper market; --no-paper does without it")
        self.candles = [_existing(given) for given in options.candles]
        self.port = self._port("PORT", WEB_PORT, given=options.port)
        self.flower_port = self._port("FLOWER_PORT", FLOWER_PORT) if self.flower else FLOWER_PORT
        self.paper_port = self._free("the paper neighbours", PAPER_PORT) if self.paper else PAPER_PORT
        self.redis: EmbeddedRedis | None = None
        if os.environ.get("S6_REDIS_URL"):
            self.notes.append(f"S6_REDIS_URL is set: using {mask_url(os.environ['S6_REDIS_URL'])}")
        else:
            self.redis = EmbeddedRedis(self.data / "redis", port=self._free("Redis", REDIS_PORT))
        self.own_tokens = not os.environ.get("S6_API_TOKENS")

    def token(self) -> str:
        """Return the demo token. Every start from one data folder has the same."""
        kept = self.data / "token"
        if not kept.exists():
            descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(18))
        return kept.read_text().strip()

    def summary(self, environment: dict[str, str], *, healthy: bool) -> list[str]:
        """Return the lines of the box that lists the addresses."""
        base = f"http://127.0.0.1:{self.port}"
        rows = [
            ("Panel", f"{base}/"),
            ("Token", f"{self.token()}  (all scopes; for this machine only)" if self.own_tokens else "yours"),
            ("API docs", f"{base}/docs"),
            ("Flower", f"http://127.0.0.1:{self.flower_port}/" if self.flower else ""),
            ("Paper", f"http://127.0.0.1:{self.paper_port}/control" if self.paper else ""),
            ("Redis", environment["S6_REDIS_URL"] if self.redis else ""),
            ("Settings", f"source {shlex.quote(str(self.data / 'env.sh'))}"),
            ("Stop", "Ctrl-C"),
        ]
        title = "S6 is up" if healthy else f"S6 is not well yet: see {base}/health"
        return [title, "", *(f"{name:<10}{text}" for name, text in rows if text)]

    def _port(self, variable: str, default: int, given: int | None = None) -> int:
        """Return the requested port, which must be free, or else the default or another free port.

        Raises ``UpError``.
        """
        asked = str(given) if given is not None else os.environ.get(variable, "").strip()
        if not asked:
            return self._free(variable, default)
        if asked.isdecimal() and 0 < int(asked) < 65536:  # the settings refuse any other value
            if not is_free(int(asked), "0.0.0.0"):
                raise UpError(f"{variable}={asked}: something else is listening there")
            return int(asked)
        raise UpError(f"{variable}={asked!r} is not allowed; allowed is a port, 1 to 65535")

    def _free(self, what: str, default: int) -> int:
        if is_free(default, "0.0.0.0"):
            return default
        port = free_port()
        self.notes.append(f"port {default} is taken: {what} uses {port}")
        return port


def make_environment(setup: LocalSetup, given: dict[str, str]) -> dict[str, str]:
    """Return the environment of every process, and write it to ``env.sh`` in the data folder for other terminals."""
    own: dict[str, str] = {"PORT": str(setup.port), "FLOWER_PORT": str(setup.flower_port)}
    if setup.redis is not None:
        own["S6_REDIS_URL"] = setup.redis.url(0)
        own["S6_BROKER_URL"] = given.get("S6_BROKER_URL") or setup.redis.url(1)
    if setup.own_tokens:
        token = setup.token()
        own["S6_API_TOKENS"] = f"laptop:ops:{token},laptop:treasury:{token}"
    if setup.paper:
        own |= {v: f"http://127.0.0.1:{setup.paper_port}/{name}" for name, v in NEIGHBOUR_URLS.items()}
    own["S6_STORE_URL"] = given.get("S6_STORE_URL") or f"sqlite:///{setup.data / 's6.db'}"
    _keep(setup.data / "env.sh", own)
    path = f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}"
    return {**given, **own, "PATH": path}


def paper_arguments(setup: LocalSetup) -> list[str]:
    """Return the arguments of `s6 paper …`. The environment carries Redis's address, as it contains the password."""
    words = ["paper", "--port", str(setup.paper_port), "--state", str(setup.data / "paper.db")]
    for candles in setup.candles:
        words += ["--candles", candles]
    for name in ("speed", "seed"):
        value = getattr(setup.options, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    return words


def _existing(candles: str) -> str:
    """Return ``[SYMBOL=]FILE`` with an absolute path, as the processes run in another folder. Raises ``UpError``."""
    symbol, equals, file = candles.rpartition("=")
    path = Path(file).absolute()
    if not path.is_file():
        raise UpError(f"--candles {candles}: there is no such file")
    return f"{symbol}{equals}{path}"


def _keep(path: Path, variables: dict[str, str]) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
