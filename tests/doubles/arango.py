"""A double of ArangoDB 3.12: a real HTTP server that speaks its protocol as far as the store uses it.

Its answers are held against recordings of a real server by tests/contract/test_arango_double.py. What it cannot vouch
for: that a real server parses and plans our AQL as meant (it knows the texts by heart), and its timing.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.doubles.arango_answers import Answer, Call, answer_to
from tests.doubles.arango_state import ArangoFail, Collection, Database, Json, Ticks

FaultKind = Literal[
    "lost answer",  # done, but the connection breaks before the answer
    "lost request",  # the connection breaks before anything is done
    "hang",  # done, but no answer within any patience
    "503",  # the server's own refusal
    "502",  # a proxy's page instead of an answer
    "conflict",  # write-write conflict, 1200: nothing done
    "revision",  # another writer gets in between: 412 with 1200
]

_HEADERS = {
    "Cache-Control": "no-cache, no-store, must-revalidate, pre-check=0, post-check=0, max-age=0, s-maxage=0",
    "Connection": "Keep-Alive",
    "Content-Security-Policy": "frame-ancestors 'self'; form-action 'self';",
    "Expires": "0",
    "Pragma": "no-cache",
    "Strict-Transport-Security": "max-age=31536000 ; includeSubDomains",
    "X-Arango-Queue-Time-Seconds": "0.000000",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests whose "METHOD path" matches."""

    kind: FaultKind
    request: str = ".*"
    times: int = 1


@dataclass
class ArangoDouble:
    """The server: a context manager; ``url`` is what the store is opened with."""

    user: str = "s6"
    password: str = "pass/word"
    check_auth: bool = True
    ticks: Ticks = field(default_factory=Ticks)
    databases: dict[str, Database] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    """Every request as "METHOD path", in order of arrival."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.databases["_system"] = Database("_system", self.ticks)
        system = Collection("_users", self.ticks, is_system=True)
        self.databases["_system"].collections[system.name] = system

    def __enter__(self) -> ArangoDouble:
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, database: str = "history", **options: int) -> str:
        """A store URL for a database of this server."""
        query = "?" + "&".join(f"{name}={value}" for name, value in options.items()) if options else ""
        password = self.password.replace("/", "%2F")
        return f"arango+http://{self.user}:{password}@127.0.0.1:{self.port}/{database}{query}"

    def inject(self, kind: FaultKind, request: str = ".*", times: int = 1) -> None:
        """Let the next matching requests go wrong."""
        with self.lock:
            self.faults.append(Fault(kind, request, times))

    def take_fault(self, request: str) -> FaultKind | None:
        """The fault that is due for this request; each is used up."""
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault.times and re.fullmatch(fault.request, request):
                    fault.times -= 1
                    return fault.kind
        return None

    def answer(self, call: Call, fault: FaultKind | None) -> Answer:
        """What the server answers, its state changed accordingly."""
        with self.lock:
            try:
                if self.check_auth and call.authorization != self._credentials():
                    raise ArangoFail(401, 11, "not authorized to execute this request")
                if fault == "503":
                    raise ArangoFail(503, 503, "service unavailable")
                if fault == "conflict" and not isinstance(call.body, list):
                    raise ArangoFail(409, 1200, "write-write conflict")
                return answer_to(self.databases, self.ticks, call, fault)
            except ArangoFail as fail:
                return Answer(fail.status, fail.body(), etag=str(fail.members.get("_rev", "")))

    def _credentials(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # a crowd may connect at once

    def __init__(self, address: tuple[str, int], double: ArangoDouble) -> None:
        super().__init__(address, _Handler)
        self.double = double

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is no news here; an error in the double is answered as 500 by the handler."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        double = self.server.double
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        fault = double.take_fault(f"{self.command} {parts.path}")
        if fault == "lost request":
            self.close_connection = True
            return
        if fault == "502":
            self._send(502, b"<html>bad gateway</html>", {"Content-Type": "text/html"})
            return
        prefixed = re.fullmatch(r"/_db/([^/]+)(/.*)", parts.path)
        call = Call(
            method=self.command,
            database=unquote(prefixed[1]) if prefixed else "_system",
            path=unquote(prefixed[2] if prefixed else parts.path),
            params=dict(parse_qsl(parts.query)),
            raw=raw,
            body=_parse(raw),
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        answer = double.answer(call, fault)
        if fault == "hang":
            double.stopping.wait(60)
        if fault in ("lost answer", "hang"):
            self.close_connection = True
            return
        self._send_answer(answer)

    def _send_answer(self, answer: Answer) -> None:
        body = b"" if answer.body is None else json.dumps(_as_vpack(answer.body), separators=(",", ":")).encode()
        headers = {"Content-Type": "text/plain" if answer.body is None and answer.status == 304 else "application/json"}
        if answer.etag:
            headers["Etag"] = f'"{answer.etag}"'
        if answer.location:
            headers["Location"] = answer.location
        if answer.error_codes:
            headers["X-Arango-Error-Codes"] = json.dumps(answer.error_codes, separators=(",", ":"))
        self._send(answer.status, b"" if self.command == "HEAD" else body, headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def version_string(self) -> str:
        return "ArangoDB"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests look at ``requests``."""

    do_GET: Callable[[_Handler], None] = _serve
    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve


def _parse(raw: bytes) -> object:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return ArangoFail(400, 600, "VPackError error: Expecting '\"' or '}'")


def _as_vpack(value: object) -> object:
    """Numbers as VelocyPack keeps them: integers of 64 bits, all others doubles, written without a point if whole."""
    if isinstance(value, dict):
        return {name: _as_vpack(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_as_vpack(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 64:
        return float(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    return value


__all__ = ["ArangoDouble", "Fault", "FaultKind", "Json"]
