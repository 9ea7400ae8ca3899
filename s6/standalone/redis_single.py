"""A single Redis server as S6 needs it: append-only file, no eviction, a password, loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from s6.standalone.redis_server import Server

DATABASES = 64


class EmbeddedRedis(Server):
    """A Redis server with its data in ``folder``. It keeps the data of an earlier run.

    Parameters
    ----------
    port
        The port, or 0 for any free one.
    appendfsync
        ``everysec`` (a power cut loses at most about a second), ``always`` or ``no``. A killed process loses nothing
        with any of them.
    password
        The password, or None for a random one that the folder keeps.
    options
        Further settings of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        appendfsync: str = "everysec",
        password: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, port=port, bus="cluster-enabled" in (options or {}), password=password)
        self._appendfsync = appendfsync
        self._options = dict(options or {})

    def url(self, db: int = 0) -> str:
        return f"redis://:{self.password}@{self.address}/{db}"

    def config(self) -> dict[str, str]:
        return {
            **super().config(),
            "requirepass": self.password,
            "masterauth": self.password,
            "databases": str(DATABASES),
            "appendonly": "yes",
            "appendfsync": self._appendfsync,
            "save": '""',
            "maxmemory-policy": "noeviction",
            "tcp-keepalive": "15",
            **self._options,
        }
