"""The web server of the process type ``web``: waitress. One loop reads whole requests, and threads answer them.

A client that sends half a request, or nothing, costs a socket and no thread. The paths in ``PROBES`` have threads of
their own, so that they answer while every other thread waits for something.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from s6.logs import configure_logging
from s6.settings import Settings
from s6.threads import LoopThread
from web import create_app, jsonio
from web.endpoint import READ_AT_MOST
from web.heartbeat import WebHeartbeat
from web.problems import MEDIA_TYPE, of_status

THREADS: Final = 16
PROBES: Final = frozenset({"/live", "/ready", "/health"})
PROBE_THREADS: Final = 4
CONNECTIONS: Final = 900  # below the usual limit of 1024 files
SILENCE_S: Final = 30
HEADERS_AT_MOST: Final = 32 * 1024
#: How long a stop waits for the requests in flight.
FINISH_S: Final = 5.0
LAST_S: Final = 0.5
JOIN_S: Final = 2.0
_ADJUSTMENTS: Final[dict[str, object]] = {
    "ident": "s6",
    "asyncore_use_poll": True,
    "backlog": 1024,
    "connection_limit": CONNECTIONS,
    "channel_timeout": SILENCE_S,
    "cleanup_interval": 5,
    "recv_bytes": 64 * 1024,
    "max_request_header_size": HEADERS_AT_MOST,
    "max_request_body_size": READ_AT_MOST,
    "trusted_proxy": "127.0.0.1",
    "trusted_proxy_headers": {"x-forwarded-proto"},
    "clear_untrusted_proxy_headers": True,
}


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests in flight. Raises ``OSError`` if the port is taken."""
    configure_logging(settings)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of every request that waits for a thread
    app = create_app(settings=settings)
    server = WebServer(app, "0.0.0.0", settings.port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.stop)
    beats = WebHeartbeat(app)
    heartbeat = LoopThread("heartbeat", beats.round, beats.close)
    heartbeat.start()
    print(f"s6: serving on port {server.port}", file=sys.stderr, flush=True)
    try:
        server.run()
    finally:
        heartbeat.stop()
        heartbeat.join(JOIN_S)


class WebServer:
    """Serves ``app`` on ``host`` and ``port``; port 0 takes a free one. Raises ``OSError`` if the port is taken."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        self._ended = threading.Event()
        self._sockets: dict[int, wasyncore.dispatcher] = {}
        self._lanes = _Lanes()
        try:
            self._server: TcpWSGIServer = create_server(
                app, map=self._sockets, _dispatcher=self._lanes, host=host, port=port, **_ADJUSTMENTS
            )
        except OSError:
            self._close(0)
            raise
        self._server.channel_class = _Channel
        self.port = int(self._server.effective_port)

    def run(self) -> None:
        """Serve until ``stop``, then finish the requests in flight, for ``FINISH_S`` at most."""
        while not self._ended.is_set():
            self._turn(1.0)
        self._turn(0)  # what has arrived by now is in flight too
        wasyncore.dispatcher.close(self._server)  # the listening socket alone; the channels go on
        until = time.monotonic() + FINISH_S
        while self._in_flight() and time.monotonic() < until:
            self._turn(0.1)
        self._close(LAST_S)

    def stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        """Make ``run`` return. It may be called from a signal handler, or from any thread."""
        if not self._ended.is_set():
            self._ended.set()
            self._server.pull_trigger()

    def _close(self, patience_s: float) -> None:
        self._lanes.shutdown(patience_s)
        wasyncore.close_all(self._sockets)

    def _turn(self, timeout_s: float) -> None:
        wasyncore.loop(timeout_s, use_poll=True, map=self._sockets, count=1)

    def _in_flight(self) -> bool:
        return any(channel.requests or channel.total_outbufs_len for channel in self._server.active_channels.values())


class _Lanes:
    """Gives each channel whose request is whole to the threads for its path."""

    def __init__(self) -> None:
        self._work, self._probes = ThreadedTaskDispatcher(), ThreadedTaskDispatcher()
        self._work.set_thread_count(THREADS)
        self._probes.set_thread_count(PROBE_THREADS)

    def add_task(self, channel: HTTPChannel) -> None:
        path = getattr(channel.requests[0], "path", "")
        (self._probes if path in PROBES else self._work).add_task(channel)

    def shutdown(self, patience_s: float) -> None:
        for lane in (self._work, self._probes):
            lane.shutdown(timeout=patience_s)


class _ProblemTask(ErrorTask):  # type: ignore[misc]
    """Answers what is not a request by HTTP's rules, or too large a one, as a problem document."""

    def execute(self) -> None:
        error = self.request.error
        problem = of_status(error.code, error.body)
        body = jsonio.dumps(problem.document()).encode()
        self.status = f"{problem.status} {error.reason}"
        self.response_headers.append(("Content-Type", MEDIA_TYPE))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    error_task_class = _ProblemTask
