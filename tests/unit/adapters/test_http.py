"""Calls to neighbours: what counts as an answer, what as an outage, and how long either may take."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

import pytest

from s6.adapters.http import Neighbour
from s6.model import jsonx
from s6.ports import NeighbourUnavailable
from tests.support.doubles import MemoryBreaker, MemoryMetrics
from tests.support.http_server import HttpServer, Reply


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer(lambda asked: Reply()) as server:
        yield server


@pytest.fixture
def breaker() -> MemoryBreaker:
    return MemoryBreaker()


@pytest.fixture
def metrics() -> MemoryMetrics:
    return MemoryMetrics()


@pytest.fixture
def neighbour(server: HttpServer, breaker: MemoryBreaker, metrics: MemoryMetrics) -> Neighbour:
    return Neighbour("s4", server.url, breaker, metrics, whole_s=0.6)


def test_numbers_travel_exactly_both_ways(server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(body=b'{"px": 0.1000000000000000055511151231257827, "n": 3}')
    answer = neighbour.call("POST", "/x", {"qty": Decimal("0.30"), "px": Decimal("1E+3"), "on": True, "name": "é"})
    assert answer.doc == {"px": Decimal("0.1000000000000000055511151231257827"), "n": 3}
    assert server.asked[0].body == b'{"qty":0.3,"px":1000,"on":true,"name":"\\u00e9"}'
    assert server.asked[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_final_refusals_are_answers(
    status: int, server: HttpServer, neighbour: Neighbour, breaker: MemoryBreaker
) -> None:
    server.respond = lambda asked: Reply(status, b'{"reason": "NO"}')
    answer = neighbour.call("POST", "/x", {})
    assert (answer.status, answer.ok, answer.text("reason")) == (status, False, "NO")
    assert breaker.ok == ["s4"]
    assert breaker.bad == []


def test_a_refusal_needs_no_json(server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(404, b"<h1>no</h1>")
    assert neighbour.call("GET", "/x").doc == {}


@pytest.mark.parametrize(
    "reply",
    [Reply(500), Reply(503, b"busy"), Reply(302, headers={"Location": "/y"}), Reply(200, b"{"), Reply(200, b"[1]")],
    ids=["500", "503", "redirect", "not json", "no object"],
)
def test_no_usable_answer(
    reply: Reply, server: HttpServer, neighbour: Neighbour, breaker: MemoryBreaker, metrics: MemoryMetrics
) -> None:
    server.respond = lambda asked: reply
    with pytest.raises(NeighbourUnavailable) as caught:
        neighbour.call("POST", "/x", {})
    assert caught.value.retry_after_ms is None
    assert [name for name, _ in breaker.bad] == ["s4"]
    assert len(server.asked) == 1
    assert [labels["outcome"] for _, _, _, labels in metrics.samples] == ["unavailable"]


def test_retry_after_in_seconds_and_as_a_date(server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(429, headers={"Retry-After": "7"})
    with pytest.raises(NeighbourUnavailable) as caught:
        neighbour.call("GET", "/x")
    assert caught.value.retry_after_ms == 7000
    server.respond = lambda asked: Reply(503, headers={"Retry-After": formatdate(time.time() + 30, usegmt=True)})
    with pytest.raises(NeighbourUnavailable) as caught:
        neighbour.call("GET", "/x")
    assert caught.value.retry_after_ms is not None
    assert 20_000 < caught.value.retry_after_ms <= 30_000
    server.respond = lambda asked: Reply(503, headers={"Retry-After": "soon"})
    with pytest.raises(NeighbourUnavailable) as caught:
        neighbour.call("GET", "/x")
    assert caught.value.retry_after_ms is None


def test_nobody_listens(breaker: MemoryBreaker, metrics: MemoryMetrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        neighbour = Neighbour("s4", f"http://127.0.0.1:{taken.getsockname()[1]}", breaker, metrics)
        with pytest.raises(NeighbourUnavailable):
            neighbour.call("GET", "/x")
    assert len(breaker.bad) == 1


def test_silence_is_bounded_and_not_repeated(server: HttpServer, neighbour: Neighbour) -> None:
    over = threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = over.wait(10)

    server.respond = lambda asked: Reply(act=silent)
    began = time.monotonic()
    with pytest.raises(NeighbourUnavailable, match="timed out"):
        neighbour.call("POST", "/x", {})
    assert time.monotonic() - began < 1.5
    over.set()
    assert len(server.asked) == 1


@pytest.mark.parametrize("in_headers", [True, False])
def test_a_dribbled_answer_is_bounded_as_a_whole(in_headers: bool, server: HttpServer, neighbour: Neighbour) -> None:
    over = threading.Event()

    def dribble(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"
        handler.wfile.write(head if in_headers else head + b"\r\n")
        while not over.wait(0.05):
            try:
                handler.wfile.write(b"X-A: b\r\n" if in_headers else b"  ")
            except OSError:
                return

    server.respond = lambda asked: Reply(act=dribble)
    began = time.monotonic()
    with pytest.raises(NeighbourUnavailable, match="timed out"):
        neighbour.call("GET", "/x")
    assert time.monotonic() - began < 1.5
    over.set()


def test_a_connection_dropped_before_its_answer_is_made_anew_once(
    server: HttpServer, neighbour: Neighbour, breaker: MemoryBreaker
) -> None:
    assert neighbour.call("POST", "/x", {"id": 1}).ok
    replies = iter([Reply(act=_hang_up), Reply(200, b'{"status":"NEW"}')])
    server.respond = lambda asked: next(replies)
    assert neighbour.call("POST", "/x", {"id": 2}).doc == {"status": "NEW"}
    assert [jsonx.loads(asked.body) for asked in server.asked] == [{"id": 1}, {"id": 2}, {"id": 2}]
    assert breaker.bad == []


def test_dropped_twice_is_an_outage(server: HttpServer, neighbour: Neighbour, breaker: MemoryBreaker) -> None:
    server.respond = lambda asked: Reply(act=_hang_up)
    with pytest.raises(NeighbourUnavailable, match="connection broke"):
        neighbour.call("POST", "/x", {})
    assert len(server.asked) == 2
    assert len(breaker.bad) == 1


def test_an_answer_cut_short_is_an_outage_and_the_next_call_is_not_disturbed(
    server: HttpServer, neighbour: Neighbour
) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"a"')

    server.respond = lambda asked: Reply(act=cut)
    with pytest.raises(NeighbourUnavailable):
        neighbour.call("GET", "/x")
    server.respond = lambda asked: Reply(body=b'{"b": 2}')
    assert neighbour.call("GET", "/x").doc == {"b": 2}


def test_what_can_wait_is_not_sent_to_one_that_is_down(
    server: HttpServer, neighbour: Neighbour, breaker: MemoryBreaker
) -> None:
    breaker.down = True
    with pytest.raises(NeighbourUnavailable, match="is down"):
        neighbour.call("GET", "/x", protective=False)
    assert server.asked == []
    assert breaker.bad == []
    assert neighbour.call("GET", "/x").ok


def test_connections_are_kept(server: HttpServer, neighbour: Neighbour) -> None:
    ports: list[int] = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server.respond = lambda asked: Reply(act=note)
    for _ in range(5):
        neighbour.call("GET", "/x")
    assert len(set(ports)) == 1


def _hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
