"""A real Redis Cluster of three nodes on loopback."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redis.crc import key_slot

from s6.standalone.redis_server import HOST, wait_until
from s6.standalone.redis_single import EmbeddedRedis

NODES: Final = 3
SLOTS: Final = 16384


class EmbeddedCluster:
    """Three masters without replicas, in an empty ``folder``, with further ``settings``. Also a context manager."""

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.password = secrets.token_urlsafe(24)
        options = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": "2000",
            "cluster-announce-ip": HOST,
            **(settings or {}),
        }
        self.nodes = [
            EmbeddedRedis(folder / f"node{number}", password=self.password, options=options) for number in range(NODES)
        ]

    def url(self) -> str:
        return f"redis+cluster://:{self.password}@{','.join(node.address for node in self.nodes)}"

    def start(self) -> Self:
        """Start the nodes, share out the slots and wait until all agree. Raises ``EmbeddedError``."""
        for node in self.nodes:
            node.start()
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", *_share(number))
                client.execute_command("CLUSTER", "MEET", HOST, self.nodes[0].port)
        wait_until(self._agreed, "the cluster's nodes agree")
        return self

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def owner(self, slot: int) -> EmbeddedRedis:
        """The node that has a slot, as the nodes see it."""
        for node in self.nodes:
            if any(first <= slot <= last for first, last in _slots_of(node)):
                return node
        raise LookupError(f"slot {slot} belongs to no node")

    def owner_of_key(self, key: str) -> EmbeddedRedis:
        return self.owner(key_slot(key.encode()))

    def migrate(self, slot: int, to: EmbeddedRedis, *, pause_s: float = 0.0) -> int:
        """Move a slot with its keys to another node, clients going on; ``pause_s`` after each key. The keys moved.

        Key by key, so that for a while a slot's keys stand on two nodes and clients are redirected (ASK, TRYAGAIN).
        """
        source, moved = self.owner(slot), 0
        if source is to:
            return 0
        with source.client() as here, to.client() as there:
            source_id, to_id = str(_cluster(here, "MYID")), str(_cluster(there, "MYID"))
            _cluster(there, "SETSLOT", slot, "IMPORTING", source_id)
            _cluster(here, "SETSLOT", slot, "MIGRATING", to_id)
            while keys := _cluster(here, "GETKEYSINSLOT", slot, 1):
                here.execute_command("MIGRATE", HOST, to.port, "", 0, 5000, "AUTH", self.password, "KEYS", *keys)
                moved += len(keys)
                time.sleep(pause_s)
            _cluster(there, "SETSLOT", slot, "NODE", to_id)
            _cluster(here, "SETSLOT", slot, "NODE", to_id)
        for node in self.nodes:
            if node not in (source, to):
                with node.client() as client:
                    _cluster(client, "SETSLOT", slot, "NODE", to_id)
        return moved

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _agreed(self) -> bool:
        for node in self.nodes:
            with node.client() as client:
                info = client.execute_command("CLUSTER INFO")
            if info["cluster_state"] != "ok" or info["cluster_known_nodes"] != str(NODES):
                return False
        return True


def _share(number: int) -> tuple[int, int]:
    return SLOTS * number // NODES, SLOTS * (number + 1) // NODES - 1


def _cluster(client: Any, *words: Any) -> Any:
    return client.execute_command("CLUSTER", *words)


def _slots_of(node: EmbeddedRedis) -> list[tuple[int, int]]:
    """The ranges of slots a node says are its own."""
    with node.client() as client:
        listing = _cluster(client, "SLOTS")
    return [(first, last) for first, last, (_, port, *_rest), *_replicas in listing if port == node.port]
