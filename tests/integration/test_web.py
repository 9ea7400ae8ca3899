"""The web process by its Procfile line: from its start to its end, under clients that hold sockets."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest
import requests

from s6.adapters.redis_client import connect
from s6.health.heartbeat import live_processes
from s6.settings import load_settings
from s6.standalone.free_ports import free_port
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.procs import Process, S6Processes
from tests.support.waiting import wait_for

HALF = b"POST /positions/manage HTTP/1.1\r\nHost: s6\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
READ = {"Authorization": "Bearer look"}


@pytest.fixture
def s6(s6_processes: S6Processes, own_redis: EmbeddedRedis) -> S6Processes:
    nowhere = {f"S6_{name}_URL": "http://127.0.0.1:9" for name in ("S1", "S4", "S10", "S12")}
    s6_processes.env |= nowhere | {"S6_REDIS_URL": own_redis.url(), "S6_API_TOKENS": "rita:read:look"}
    return s6_processes


def beats(redis: EmbeddedRedis) -> set[int]:
    with connect(load_settings({"S6_REDIS_URL": redis.url()}).redis) as client:
        return {beat.pid for beat in live_processes(client) if beat.role == "web"}


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def start(s6: S6Processes, port: int) -> Process:
    process = s6.start("web", env={"PORT": str(port)})
    wait_for(lambda: answers(f"http://127.0.0.1:{port}/live"), 30, every=0.02)
    return process


def test_copies_beat_from_start_to_end(s6: S6Processes, own_redis: EmbeddedRedis) -> None:
    ports = [free_port(), free_port()]
    copies = [start(s6, port) for port in ports]
    wait_for(lambda: beats(own_redis) == {copy.pid for copy in copies})
    assert answers(f"http://127.0.0.1:{ports[1]}/ready")
    assert copies[0].stop() == 0
    assert beats(own_redis) == {copies[1].pid}
    taken = s6.start("web", env={"PORT": str(ports[1])})
    assert taken.popen.wait(20) == 2
    assert taken.output().splitlines()[-1].endswith("Address already in use")


def test_held_sockets_and_open_panels_leave_health_prompt(s6: S6Processes) -> None:
    port = int(s6.env["PORT"])
    start(s6, port)
    ended = threading.Event()

    def panel() -> None:
        with requests.Session() as session, suppress(requests.ConnectionError):  # the server ends first
            while not ended.wait(1.0):
                session.get(f"{s6.url}/positions", headers=READ, timeout=10)

    panels = [threading.Thread(target=panel, daemon=True) for _ in range(30)]
    with ExitStack() as stack:
        for number in range(16 + 64):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            client.sendall(HALF if number < 16 else b"")
        for thread in panels:
            thread.start()
        for _ in range(5):
            began = time.monotonic()
            assert requests.get(f"{s6.url}/health", timeout=5).status_code == 503  # nothing else runs
            assert time.monotonic() - began < 2
            time.sleep(0.5)
        began = time.monotonic()
        assert s6["web"].stop() == 0
        assert time.monotonic() - began < 10
    ended.set()


def test_alive_without_redis_but_not_ready(s6: S6Processes, own_redis: EmbeddedRedis) -> None:
    start(s6, int(s6.env["PORT"]))
    wait_for(lambda: answers(f"{s6.url}/ready"))
    own_redis.freeze()
    began = time.monotonic()
    assert requests.get(f"{s6.url}/ready", timeout=5).json()["code"] == "STATE_UNAVAILABLE"
    assert requests.get(f"{s6.url}/live", timeout=5).json() == {"status": "OK"}
    assert time.monotonic() - began < 2
    own_redis.thaw()
    wait_for(lambda: answers(f"{s6.url}/ready"))
