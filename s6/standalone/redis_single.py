"""A single Redis server with everything S6 asks of one: append-only file, nothing evicted, a password, loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from s6.standalone.redis_server import Server

DATABASES = 64


class EmbeddedRedis(Server):
    """A Redis server whose data lives in ``folder``; on a folder from an earlier run it comes up with that data.

    Parameters
    ----------
    port
        0 for any free one.
    appendfsync
        ``everysec`` (a power cut costs at most a second or so), ``always`` or ``no``. The death of the process alone
        loses nothing with any of them.
    password
        None: a random one, kept in the folder.
    options
        Further lines of the configuration.
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
