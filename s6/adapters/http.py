"""Calls the neighbours: JSON both ways with exact numbers, bounded in time, each outcome classified and reported."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

import requests
from requests.exceptions import ChunkedEncodingError, RequestException
from requests.structures import CaseInsensitiveDict
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError
from urllib3.util import Timeout

from s6.adapters.http_deadline import DeadlineAdapter, trusted
from s6.model import jsonx
from s6.model.wire import printable
from s6.ports import Metrics, NeighbourUnavailable

CONNECT_S: Final = 1.0
WHOLE_S: Final = 3.0


class Breaker(Protocol):
    """Knows whether a neighbour is down, from the calls made. Never raises."""

    def is_down(self, name: str) -> bool: ...

    def succeeded(self, name: str, latency_ms: int) -> None: ...

    def failed(self, name: str, detail: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A usable answer: 2xx, 304 or a final 4xx. ``doc`` is the JSON object in it, empty when a 4xx holds none."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    doc: Mapping[str, object]

    @property
    def ok(self) -> bool:
        return self.status < 300

    def text(self, name: str) -> str:
        """Return a member as text, empty when it is absent or null."""
        value = self.doc.get(name)
        return "" if value is None else printable(str(value))


class Onlooker:
    """Knows what a breaker knows, and tells it nothing."""

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def is_down(self, name: str) -> bool:
        return self._breaker.is_down(name)

    def succeeded(self, name: str, latency_ms: int) -> None:
        """Tell nothing."""

    def failed(self, name: str, detail: str) -> None:
        """Tell nothing."""


class _Dropped(Exception):
    """The connection broke before any answer, as one kept alive too long does."""


class Neighbour:
    """One neighbour over HTTP. Safe to share between threads and across forks: each thread keeps its own connection.

    ``call`` raises ``NeighbourUnavailable`` for 5xx, 429 (with its ``Retry-After``), anything that is no JSON object
    in a 2xx, a broken connection, and when the call takes longer than 3 s in all. Nothing is retried but a connection
    that broke before it answered: once, at once, within the same 3 s. That is safe, since every request carries ids
    that make its repetition harmless.
    """

    def __init__(
        self, name: str, base_url: str, breaker: Breaker, metrics: Metrics, *, whole_s: float = WHOLE_S
    ) -> None:
        self.name = name
        self._base = base_url.rstrip("/")
        self._breaker = breaker
        self._metrics = metrics
        self._whole_s = whole_s
        self._local = threading.local()
        self._again = Retrying(stop=stop_after_attempt(2), retry=retry_if_exception_type(_Dropped), reraise=True)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        is_json: bool = True,
        protective: bool = True,
    ) -> Answer:
        """Send a request. Returns the answer. While the neighbour is down, only a ``protective`` call is tried.

        ``is_json`` False leaves the body of a 2xx as it is.
        """
        if not protective and self._breaker.is_down(self.name):
            raise NeighbourUnavailable(self.name, "is down; not asked")
        began = time.monotonic()
        try:
            answer = self._classified(self._again(self._send, method, path, body, headers, began), is_json)
        except _Dropped as error:
            unavailable = NeighbourUnavailable(self.name, f"connection broke: {error}")
            raise self._failed(unavailable, began) from error
        except NeighbourUnavailable as error:
            raise self._failed(error, began) from error.__cause__
        seconds = time.monotonic() - began
        self._breaker.succeeded(self.name, int(seconds * 1000))
        self._metrics.observe("s6_neighbour_seconds", seconds, neighbour=self.name, outcome="answered")
        return answer

    def _failed(self, error: NeighbourUnavailable, began: float) -> NeighbourUnavailable:
        self._breaker.failed(self.name, error.detail)
        seconds = time.monotonic() - began
        self._metrics.observe("s6_neighbour_seconds", seconds, neighbour=self.name, outcome="unavailable")
        return error

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str] | None,
        began: float,
    ) -> requests.Response:
        left = self._whole_s - (time.monotonic() - began)
        if left <= 0:
            raise NeighbourUnavailable(self.name, "timed out")
        try:
            response = self._transport().send(
                _prepared(method, self._base + path, body, headers),
                timeout=Timeout(connect=min(CONNECT_S, left), total=left),  # type: ignore[arg-type]  # it is allowed
                verify=trusted(),
            )
            response.content  # noqa: B018  # read to the end, within the same time
            return response
        except (RequestException, HTTPError) as error:
            cause = error.args[0] if error.args else error
            if isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError):
                raise NeighbourUnavailable(self.name, "timed out") from error
            if isinstance(cause, ProtocolError) and not isinstance(error, ChunkedEncodingError):
                raise _Dropped(str(cause)) from error
            raise NeighbourUnavailable(self.name, _short(error)) from error

    def _classified(self, response: requests.Response, is_json: bool) -> Answer:
        status = response.status_code
        if status == 429 or status >= 500:
            wait = _retry_after_ms(response.headers.get("Retry-After", ""))
            raise NeighbourUnavailable(self.name, f"HTTP {status}", wait)
        if 300 <= status < 400 and status != 304:
            raise NeighbourUnavailable(self.name, f"HTTP {status}: redirects are not followed")
        doc = _document(response.content) if is_json or status >= 400 else None
        if doc is None and is_json and status < 300:
            raise NeighbourUnavailable(self.name, f"HTTP {status} without a JSON object")
        return Answer(status, response.headers, response.content, doc or {})

    def _transport(self) -> DeadlineAdapter:
        """Return this thread's connection. A session would add nothing: there are no cookies, redirects or proxies."""
        local = self._local
        if getattr(local, "pid", None) != os.getpid():  # a forked child must not share its parent's connections
            local.transport, local.pid = DeadlineAdapter(pool_connections=1, pool_maxsize=1), os.getpid()
        transport = local.transport
        assert isinstance(transport, DeadlineAdapter)
        return transport


def _prepared(
    method: str, url: str, body: Mapping[str, object] | None, headers: Mapping[str, str] | None
) -> requests.PreparedRequest:
    """Return a request prepared by hand: our URLs, headers and bodies need no normalizing."""
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url = method, url
    all_headers: CaseInsensitiveDict[str] = CaseInsensitiveDict({"Accept": "application/json"})
    all_headers["User-Agent"] = "s6"
    if body is not None:
        prepared.body = jsonx.dumps(body).encode()
        all_headers["Content-Type"] = "application/json"
    if body is not None or method != "GET":
        all_headers["Content-Length"] = str(len(prepared.body or b""))
    all_headers.update(headers or {})
    prepared.headers = all_headers
    return prepared


def _document(content: bytes) -> Mapping[str, object] | None:
    try:
        doc = jsonx.received(content)
    except ValueError:
        return None
    return doc if isinstance(doc, Mapping) else None


def _retry_after_ms(value: str) -> int | None:
    """Return seconds or an HTTP date as ms from now, or None when neither can be read."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return int(value[:9]) * 1000
    try:
        at = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, IndexError):
        return None
    return max(0, int((at - time.time()) * 1000))


def _short(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text[:200]}"
