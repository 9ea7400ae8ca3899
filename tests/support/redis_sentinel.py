"""A master, a replica and three Sentinels on loopback."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from s6.standalone.redis_server import HOST, Server, wait_until
from s6.standalone.redis_single import EmbeddedRedis

SERVICE: Final = "s6"
QUORUM: Final = 2
DOWN_AFTER_MS: Final = 700


class _Sentinel(Server):
    arguments = ("--sentinel",)
    keeps_config = True

    def __init__(self, folder: Path, master: EmbeddedRedis) -> None:
        super().__init__(folder, password="")
        self._master = master

    def config(self) -> dict[str, str]:
        return {
            **super().config(),
            f"sentinel monitor {SERVICE}": f"{HOST} {self._master.port} {QUORUM}",
            f"sentinel auth-pass {SERVICE}": self._master.password,
            f"sentinel down-after-milliseconds {SERVICE}": str(DOWN_AFTER_MS),
            f"sentinel failover-timeout {SERVICE}": "3000",
        }


class EmbeddedSentinel:
    """Redis guarded by Sentinels, in an empty ``folder``: kill or freeze the master and the replica takes over.

    ``servers`` are the two data servers, the first one being the master at first. Also a context manager.
    """

    def __init__(self, folder: Path) -> None:
        self.password = secrets.token_urlsafe(24)
        first = EmbeddedRedis(folder / "server0", password=self.password)
        second = EmbeddedRedis(
            folder / "server1", password=self.password, options={"replicaof": f"{HOST} {first.port}"}
        )
        self.servers = [first, second]
        self.sentinels = [_Sentinel(folder / f"sentinel{number}", first) for number in range(3)]

    def url(self, db: int = 0) -> str:
        hosts = ",".join(sentinel.address for sentinel in self.sentinels)
        return f"redis+sentinel://:{self.password}@{hosts}/{SERVICE}/{db}"

    def start(self) -> Self:
        """Start all five and wait until they know of each other. Raises ``EmbeddedError``."""
        for server in (*self.servers, *self.sentinels):
            server.start()
        wait_until(self._in_sync, "the replica is in sync")
        wait_until(self._acquainted, "the Sentinels know of each other")
        return self

    def stop(self) -> None:
        for server in (*self.sentinels, *reversed(self.servers)):
            server.stop()

    def master(self) -> EmbeddedRedis:
        """The data server that the Sentinels now call master."""
        with self.sentinels[0].client() as client:
            _, port = client.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.servers if server.port == int(port))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _in_sync(self) -> bool:
        with self.servers[1].client() as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def _acquainted(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                seen = client.execute_command("SENTINEL MASTER", SERVICE)
            if (int(seen["num-other-sentinels"]), int(seen["num-slaves"])) != (2, 1):
                return False
        return True
