"""Finds free ports on loopback, outside the range from which the kernel picks ports for outgoing connections."""

from __future__ import annotations

import secrets
import socket
from contextlib import closing
from typing import Final

FIRST: Final = 10_000
LAST: Final = 22_000
BUS_OFFSET: Final = 10_000


def free_port(*, bus: bool = False) -> int:
    """Return a free port. With ``bus`` the port 10,000 higher, a Redis Cluster node's bus, is free too."""
    for _ in range(1000):
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if is_free(port) and (not bus or is_free(port + BUS_OFFSET)):
            return port
    raise OSError(f"no free port between {FIRST} and {LAST}")


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
