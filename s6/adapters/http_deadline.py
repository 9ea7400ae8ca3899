"""A ``requests`` transport whose timeout bounds the whole answer.

``requests`` bounds each read from the socket by itself, so a peer that dribbles one byte at a time holds a caller for
ever. Here every read gets what is left of the call's time.
"""

from __future__ import annotations

import io
import os
import socket
import time
from http.client import HTTPResponse

from requests.adapters import HTTPAdapter
from typing_extensions import Buffer
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


def trusted() -> bool | str:
    """Return what certificates are checked against: the public authorities, or the file in REQUESTS_CA_BUNDLE."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or True


class _BoundedReader(io.RawIOBase):
    """Reads a response from the socket, with a timeout that shrinks towards the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket's own count of who still reads from it
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer was not complete in time")
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None):
        super().__init__(sock, debuglevel, method, url)
        whole = sock.gettimeout()
        if whole is not None:
            self.fp.close()
            self.fp = io.BufferedReader(_BoundedReader(sock, time.monotonic() + whole))


class _Connection(HTTPConnection):
    response_class = _BoundedResponse


class _TlsConnection(HTTPSConnection):
    response_class = _BoundedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class DeadlineAdapter(HTTPAdapter):
    """Mount it on a session; pass ``urllib3.Timeout(connect=…, total=…)``: the total then holds to the last byte."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: object) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
