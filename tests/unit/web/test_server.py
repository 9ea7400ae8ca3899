"""The web server under clients that are slow, silent, many or wrong, and while it stops."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests
from flask import Flask, request

from tests.support.waiting import wait_for
from web.server import FINISH_S, THREADS, WebServer

HALF = b"POST /echo HTTP/1.1\r\nHost: s6\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


class Served:
    """A server in a thread. ``/hang`` answers when ``released`` is set, ``/echo`` what it gets."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.hanging = 0
        app = Flask("served")
        app.add_url_rule("/live", view_func=lambda: "alive", endpoint="live")
        app.add_url_rule("/hang", view_func=self._hang, endpoint="hang")
        app.add_url_rule("/echo", view_func=lambda: request.get_data(), methods=["POST"], endpoint="echo")
        app.add_url_rule("/scheme", view_func=lambda: request.scheme, endpoint="scheme")
        self.server = WebServer(app, "127.0.0.1", 0)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=5)

    def stop(self) -> float:
        """Stop it; returns how long that took, in s."""
        began = time.monotonic()
        self.server.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()
        return time.monotonic() - began

    def _hang(self) -> str:
        self.hanging += 1
        self.released.wait(20)
        return "released"


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.released.set()
    served.stop()


@contextmanager
def hanging(served: Served, number: int) -> Iterator[list[int]]:
    """So many requests that wait inside the app; afterwards, the status that each got (0: none)."""
    statuses: list[int] = []

    def ask() -> None:
        try:
            statuses.append(requests.get(f"{served.url}/hang", timeout=15).status_code)
        except requests.RequestException:
            statuses.append(0)

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    wait_for(lambda: served.hanging == min(number, THREADS))
    yield statuses
    served.released.set()
    for thread in threads:
        thread.join(10)


def took(url: str) -> float:
    began = time.monotonic()
    assert requests.get(url, timeout=10).status_code == 200
    return time.monotonic() - began


def test_half_requests_and_silent_connections_delay_nobody(served: Served) -> None:
    with ExitStack() as stack:
        for number in range(16 + 64):
            client = stack.enter_context(served.connect())
            client.sendall(HALF if number < 16 else b"")
        panels = [stack.enter_context(requests.Session()) for _ in range(30)]
        for panel in panels:
            panel.get(f"{served.url}/live", timeout=5)
        assert took(f"{served.url}/live") < 2
        assert requests.post(f"{served.url}/echo", data=b"x" * 1000, timeout=5).content == b"x" * 1000


def test_the_probes_answer_while_every_thread_waits(served: Served) -> None:
    with hanging(served, THREADS + 4) as statuses:
        assert took(f"{served.url}/live") < 2
    assert statuses == [200] * (THREADS + 4)


def test_a_late_half_is_answered(served: Served) -> None:
    with served.connect() as client:
        client.sendall(HALF)
        time.sleep(0.1)
        client.sendall(b" " * 99)
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_a_stop_finishes_what_is_in_flight_and_takes_nothing_new(served: Served) -> None:
    with hanging(served, 2) as statuses, served.connect() as half:
        half.sendall(HALF)
        served.server.stop()
        wait_for(lambda: not accepts(served))
        served.released.set()
        assert served.stop() < 2
    assert statuses == [200, 200]


def test_a_stop_waits_for_no_request_for_ever(served: Served) -> None:
    with hanging(served, 1):
        assert served.stop() < FINISH_S + 2


def test_an_idle_server_stops_at_once(served: Served) -> None:
    with requests.Session() as idle:
        idle.get(f"{served.url}/live", timeout=5)
        assert served.stop() < 1


def accepts(served: Served) -> bool:
    try:
        served.connect().close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /live HTTP/1.1\r\nno colon\r\n\r\n", 400, "BAD_REQUEST"),
        (b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "BAD_REQUEST"),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413, "TOO_LARGE"),
        (b"GET /live HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 431, "REQUEST_HEADER_FIELDS_TOO_LARGE"),
    ],
)
def test_what_is_no_request_gets_a_problem(served: Served, sent: bytes, status: int, code: str) -> None:
    with served.connect() as client:
        client.sendall(sent)
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith((f"HTTP/1.1 {status} ", f"HTTP/1.0 {status} "))
    assert "Content-Type: application/problem+json" in head
    assert f'"code":"{code}"' in body.replace(" ", "")


def test_a_proxy_on_this_machine_says_whether_it_was_https(served: Served) -> None:
    assert requests.get(f"{served.url}/scheme", headers={"X-Forwarded-Proto": "https"}, timeout=5).text == "https"
    assert requests.get(f"{served.url}/scheme", timeout=5).text == "http"


def test_a_port_that_is_taken_is_an_error(served: Served) -> None:
    with pytest.raises(OSError, match="in use"):
        WebServer(Flask("second"), "127.0.0.1", served.server.port)
