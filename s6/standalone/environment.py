"""Where `s6 up` puts things: ports, folders, tokens, and the environment that tells every process about them."""

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
    """What keeps `s6 up` from starting; one line for people."""


class LocalSetup:
    """What the command line asks for, made concrete: free ports, an existing data folder, the embedded Redis.

    ``notes`` tells which defaults were not to be had. Raises ``UpError``.
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
        """The demo token, the same at each start from one data folder."""
        kept = self.data / "token"
        if not kept.exists():
            descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(18))
        return kept.read_text().strip()

    def summary(self, environment: dict[str, str], *, healthy: bool) -> list[str]:
        """The lines of the box that says where everything is."""
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
        """A port that was asked for must be free; the default gives way to another."""
        asked = str(given) if given is not None else os.environ.get(variable, "").strip()
        if not asked:
            return self._free(variable, default)
        if asked.isdecimal() and 0 < int(asked) < 65536:  # if it isn't, the settings will say so
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


def make_environment(place: LocalSetup, given: dict[str, str]) -> dict[str, str]:
    """The environment of every process; also kept as ``env.sh`` in the data folder, for other terminals."""
    own: dict[str, str] = {"PORT": str(place.port), "FLOWER_PORT": str(place.flower_port)}
    if place.redis is not None:
        own["S6_REDIS_URL"] = place.redis.url(0)
        own["S6_BROKER_URL"] = given.get("S6_BROKER_URL") or place.redis.url(1)
    if place.own_tokens:
        token = place.token()
        own["S6_API_TOKENS"] = f"laptop:ops:{token},laptop:treasury:{token}"
    if place.paper:
        own |= {v: f"http://127.0.0.1:{place.paper_port}/{name}" for name, v in NEIGHBOUR_URLS.items()}
    own["S6_STORE_URL"] = given.get("S6_STORE_URL") or f"sqlite:///{place.data / 's6.db'}"
    _keep(place.data / "env.sh", own)
    path = f"{Path(sys.executable).parent}{os.pathsep}{given.get('PATH', os.defpath)}"
    return {**given, **own, "PATH": path}


def paper_arguments(place: LocalSetup) -> list[str]:
    """The words of `s6 paper …`; Redis's address, with its password, goes by the environment."""
    words = ["paper", "--port", str(place.paper_port), "--state", str(place.data / "paper.db")]
    for candles in place.candles:
        words += ["--candles", candles]
    for name in ("speed", "seed"):
        value = getattr(place.options, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    return words


def _existing(candles: str) -> str:
    """``[SYMBOL=]FILE`` with an absolute path: the processes run elsewhere."""
    symbol, equals, file = candles.rpartition("=")
    path = Path(file).absolute()
    if not path.is_file():
        raise UpError(f"--candles {candles}: there is no such file")
    return f"{symbol}{equals}{path}"


def _keep(path: Path, variables: dict[str, str]) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
