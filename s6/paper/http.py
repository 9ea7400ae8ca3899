"""A small HTTP/1.1 server with keep-alive whose handlers can cut the connection instead of answering.

Tests of retries need both. Flask's development server closes each connection after one answer, and production servers
do not give handlers the socket.
"""

import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from s6.model.jsonx import dumps
from s6.paper.requests import Answer

_MAX_BODY = 8 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `params` are the named parts of its path."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    params: Mapping[str, str] = field(default_factory=dict)


class Drop(Exception):
    """Raised by a handler to reset the connection instead of answering."""


Handler = Callable[[Request], Answer]


class Router:
    """Finds the handler of a request. In a path like `/orders/{id}` a part matches anything but a slash."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Let `handler` serve `method path`."""
        self._routes.append((method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), handler))

    def __call__(self, request: Request) -> Answer:
        """Answer a request; an unknown path gets 404, an unknown method 405."""
        found = False
        for method, pattern, handler in self._routes:
            if match := pattern.fullmatch(request.path):
                found = True
                if method == request.method:
                    params = {name: unquote(value) for name, value in match.groupdict().items()}
                    return handler(
                        Request(request.method, request.path, request.query, request.headers, request.body, params)
                    )
        return Answer(405 if found else 404, {"reason": "NO_SUCH_METHOD" if found else "NO_SUCH_PATH"})


class HttpServer:
    """Serves a router. Port 0 takes a free one, which `port` then names."""

    def __init__(self, router: Router, port: int, host: str = "127.0.0.1") -> None:
        self._server = _Server((host, port), _Connection, router)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="paper-http", daemon=True
        )

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more connections. Open ones end with the process."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], router: Router) -> None:
        self.router = router
        super().__init__(address, handler)


class _Connection(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Handle requests until the other side closes. A connection that it cuts is no error."""
        try:
            super().handle()
        except (ConnectionError, TimeoutError, ValueError):
            self.close_connection = True

    def finish(self) -> None:
        """Close, and ignore that the socket is gone already."""
        try:
            super().finish()
        except (ConnectionError, ValueError):
            self.rfile.close()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the ledger is the log."""

    def do_GET(self) -> None:
        """Handle any method."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > _MAX_BODY:
            self.close_connection = True
            self._send(Answer(413, {"reason": "TOO_LARGE"}))
            return
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, url.path, dict(parse_qsl(url.query)), headers, self.rfile.read(length))
        try:
            self._send(self.server.router(request))
        except Drop:
            self._reset()

    do_POST = do_PUT = do_DELETE = do_GET

    def _send(self, answer: Answer) -> None:
        text = answer.raw if answer.raw is not None else ("" if answer.body is None else dumps(answer.body))
        body = text.encode()
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status not in {204, 304}:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)  # closes by RST, as a crashed peer does
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
