"""The paper neighbours as a real process over a real Redis: the wire, the faults, the process's manners."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from s6.adapters.redis_client import RedisClient
from s6.paper.http import HttpServer, Request, Router
from s6.paper.requests import Answer
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.paper_client import PaperClient, PaperError


def start(redis_url: str, *options: str) -> tuple["subprocess.Popen[str]", str]:
    command = [sys.executable, "-m", "s6.paper", "--redis-url", redis_url, "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, str(json.loads(process.stdout.readline())["url"])


def stop(process: "subprocess.Popen[str]") -> int:
    process.terminate()
    with process:
        return process.wait(timeout=10)


@pytest.fixture
def paper(redis_url: str) -> Iterator[PaperClient]:
    process, url = start(redis_url, "--market", "manual", "--no-strategy", "--cancel-delay-ms", "5")
    client = PaperClient(url)
    client.tick("BTCUSDT", 40000)
    yield client
    client.close()
    assert stop(process) == 0


@pytest.fixture
def web() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def stop_order(client_order_id: str = "s1", **more: object) -> dict[str, object]:
    return {
        "intent_id": f"i-{client_order_id}",
        "client_order_id": client_order_id,
        "position_id": "p",
        "symbol": "BTCUSDT",
        "market": "FUT",
        "kind": "SL",
        "side": "SELL",
        "type": "STOP_MARKET",
        "qty": 0.3,
        "stopPx": 39900.0,
        "reduceOnly": True,
    } | more


def entries(client: RedisClient, stream: str) -> list[dict[str, str]]:
    answer: list[tuple[str, dict[str, str]]] = client.xrange(stream)  # type: ignore[assignment]
    return [fields for _, fields in answer]


def results(client: RedisClient) -> list[dict[str, str]]:
    return entries(client, "ord:result:BTCUSDT")


def eventually(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_a_life_on_the_wire(paper: PaperClient, web: requests.Session, redis_client: RedisClient) -> None:
    urls = paper.neighbour_urls()
    for url in urls.values():
        assert web.get(f"{url}/health", timeout=3).status_code == 200
    paper.open_position("p", "BTCUSDT", "LONG", "0.3", 50)
    assert (redis_client.get("risk:concurrency:FUT"), redis_client.get("risk:budget:FUT")) == ("1", "240")
    s4 = urls["S6_S4_URL"]
    placed = web.post(f"{s4}/orders", json=stop_order(), timeout=3)
    assert placed.status_code == 200
    assert web.post(f"{s4}/orders", json=stop_order(), timeout=3).text == placed.text
    assert web.post(f"{s4}/orders", json=stop_order(qty=0.2), timeout=3).status_code == 409
    refused = web.post(f"{s4}/orders", json=stop_order("s2", stopPx=40000.0), timeout=3)
    assert (refused.status_code, refused.json()) == (422, {"reason": "WOULD_TRIGGER"})
    cancel = {"intent_id": "c", "client_order_id": "s1", "position_id": "p", "symbol": "BTCUSDT"}
    assert web.post(f"{s4}/cancel", json=cancel, timeout=3).status_code == 202
    eventually(lambda: results(redis_client)[-1]["status"] == "CANCELED")
    gone = web.post(f"{s4}/cancel", json=cancel, timeout=3)
    assert (gone.status_code, gone.json()["status"]) == (409, "CANCELED")
    assert web.get(f"{s4}/orders/s1", timeout=3).json()["status"] == "CANCELED"
    assert web.get(f"{s4}/orders/nope", timeout=3).status_code == 404
    web.post(f"{s4}/orders", json=stop_order("s3"), timeout=3)
    paper.tick("BTCUSDT", "39899.9", bid="39890.5")
    last = results(redis_client)[-1]
    assert (last["status"], last["avg_price"], last["filled_qty"]) == ("FILLED", "39890.5", "0.3")
    assert paper.position("p")["qty"] == 0
    newest = entries(redis_client, "mkt:BTCUSDT")[-1]
    assert (newest["mark"], newest["bid"], newest["ask"]) == ("39899.9", "39890.5", "39899.9")


def test_features_bundle_balances_and_approvals(
    paper: PaperClient, web: requests.Session, redis_client: RedisClient
) -> None:
    urls = paper.neighbour_urls()
    paper.feature("BTCUSDT", atr="12.5", regime="LOW", signal="LONG", signal_id="g1")
    fields = entries(redis_client, "feat:events:BTCUSDT")[0]
    assert {n: fields[n] for n in ("atr", "regime", "signal", "signal_id")} == {
        "atr": "12.5",
        "regime": "LOW",
        "signal": "LONG",
        "signal_id": "g1",
    }
    news = redis_client.pubsub()  # type: ignore[no-untyped-call]
    news.subscribe("cfg:events")
    news.get_message(timeout=3)
    active = f"{urls['S6_S10_URL']}/active"
    etag = web.get(active, timeout=3).headers["ETag"]
    assert web.get(active, headers={"If-None-Match": etag}, timeout=3).status_code == 304
    paper.publish_bundle({**paper.bundle(), "version": "b-2", "note": Decimal("0.1000000000000000000000000001")})
    message = news.get_message(timeout=3)
    news.close()
    assert message is not None and json.loads(message["data"])["version"] == "b-2"
    changed = web.get(active, headers={"If-None-Match": etag}, timeout=3)
    assert changed.status_code == 200 and "0.1000000000000000000000000001" in changed.text
    paper.balances(SPOT="500", FUT="7.5")
    s1 = urls["S6_S1_URL"]
    body = {"transfer_id": "t1", "from": "SPOT", "to": "FUT", "asset": "USDT", "amount": 100}
    for _ in range(2):
        moved = web.post(f"{s1}/xchg/treasury/transfer", json=body, headers={"Idempotency-Key": "t1"}, timeout=3)
        assert moved.json()["status"] == "EXECUTED"
    wallets = web.get(f"{s1}/xchg/treasury/balances?asset=USDT", timeout=3).json()
    assert (wallets["SPOT"], wallets["FUT"]) == ({"free": 400}, {"free": 107.5})
    asked = web.post(f"{urls['S6_S12_URL']}/approvals", json={**body, "reason": "low"}, timeout=3)
    assert asked.status_code == 202
    assert [item["transfer_id"] for item in paper.approvals()] == ["t1"]


def test_an_answer_lost_leaves_the_order_placed(paper: PaperClient, web: requests.Session) -> None:
    paper.open_position("p", "BTCUSDT", "LONG", "0.3", 50)
    url = f"{paper.base_url}/s4/orders"
    paper.script("s4.orders", "reset_after")
    with pytest.raises(requests.ConnectionError):
        web.post(url, json=stop_order(), timeout=3)
    assert [order["client_order_id"] for order in paper.orders("p", live=True)] == ["s1"]
    assert web.post(url, json=stop_order(), timeout=3).status_code == 200
    assert len(paper.orders("p", live=True)) == 1
    answers = paper.ledger(what="answer")
    assert [(a["status"], a["fault"], a["delivered"]) for a in answers] == [
        (200, "reset_after", False),
        (200, None, True),
    ]


def test_errors_before_handling_leave_nothing(paper: PaperClient, web: requests.Session) -> None:
    paper.open_position("p", "BTCUSDT", "LONG", "0.3", 50)
    url = f"{paper.base_url}/s4/orders"
    paper.script("s4.orders", "error", status=429, retry_after_s=0.5)
    paper.script("s4.orders", "reset_before")
    paper.script("s4.orders", "hang_before", ms=2000)
    answer = web.post(url, json=stop_order(), timeout=3)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "0.5")
    with pytest.raises(requests.ConnectionError):
        web.post(url, json=stop_order(), timeout=3)
    with pytest.raises(requests.ReadTimeout):
        web.post(url, json=stop_order(), timeout=0.2)
    assert paper.orders("p", live=True) == []
    paper.fault(http={"s4": {"down": "error"}, "s1": {"down": "refused"}})
    assert web.get(f"{paper.base_url}/s4/health", timeout=3).status_code == 503
    with pytest.raises(requests.ConnectionError):
        web.get(f"{paper.base_url}/s1/health", timeout=3)
    paper.clear_faults()
    assert web.get(f"{paper.base_url}/s1/health", timeout=3).status_code == 200


def test_results_come_twice_late_and_out_of_order(
    paper: PaperClient, web: requests.Session, redis_client: RedisClient
) -> None:
    paper.script("result:ENTRY", "duplicate")
    paper.open_position("p", "BTCUSDT", "LONG", "0.3", 50)
    assert [r["status"] for r in results(redis_client)] == ["FILLED", "FILLED"]
    paper.script("result:SL:NEW", "reorder", ms=5000)
    web.post(f"{paper.base_url}/s4/orders", json=stop_order(), timeout=3)
    assert len(results(redis_client)) == 2
    paper.manual_close("p", "0.1")
    assert [(r["kind"], r["status"]) for r in results(redis_client)[2:]] == [("REDUCE", "FILLED"), ("SL", "NEW")]
    paper.script("result", "delay", ms=60)
    paper.manual_close("p")
    eventually(lambda: results(redis_client)[-1]["kind"] == "EXIT")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/s4/orders", "{", 400),
        ("/s4/orders", "[]", 422),
        ("/s4/orders", '{"qty": NaN}', 400),
        ("/s4/cancel", "{}", 422),
        ("/s1/xchg/treasury/transfer", "{}", 422),
        ("/control/ticks", '{"symbol": "BTCUSDT"}', 422),
        ("/control/faults", "[]", 422),
        ("/nowhere", "{}", 404),
    ],
)
def test_bad_bodies(paper: PaperClient, web: requests.Session, path: str, body: str, status: int) -> None:
    assert web.post(f"{paper.base_url}{path}", data=body, timeout=3).status_code == status
    with pytest.raises(PaperError, match="422"):
        paper.script("s4.orders", "explode")


def test_no_result_is_lost_when_redis_restarts(own_redis: EmbeddedRedis) -> None:
    process, url = start(own_redis.url(), "--market", "manual", "--no-strategy")
    client = PaperClient(url)
    client.tick("BTCUSDT", 40000)
    own_redis.kill()
    with pytest.raises(PaperError, match="REDIS_DOWN"):
        client.open_position("p", "BTCUSDT", "LONG", "0.3", 50)
    own_redis.start()
    client.tick("BTCUSDT", 40000)
    with own_redis.client() as redis_client:
        assert [r["status"] for r in results(redis_client)] == ["FILLED"]
        assert redis_client.get("risk:budget:FUT") == "240"
    client.close()
    assert stop(process) == 0


def test_a_walk_runs_and_nobody_enters_until_somebody_governs(redis_url: str, redis_client: RedisClient) -> None:
    process, url = start(redis_url, "--speed", "300", "--tick-ms", "50")
    client = PaperClient(url)
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        eventually(lambda symbol=symbol: len(entries(redis_client, f"mkt:{symbol}")) > 10)  # type: ignore[misc]
        eventually(lambda symbol=symbol: bool(entries(redis_client, f"feat:events:{symbol}")))  # type: ignore[misc]
    newest = entries(redis_client, "mkt:BTCUSDT")[-1]
    assert abs(time.time() * 1000 - int(newest["ts"])) < 2000
    assert Decimal(newest["bid"]) < Decimal(newest["mark"]) < Decimal(newest["ask"])
    assert client.positions() == []
    requests.get(f"{url}/s10/active", timeout=3)
    eventually(lambda: {"LONG", "SHORT"} <= {str(p["side"]) for p in client.positions()}, timeout_s=15)
    features = entries(redis_client, "feat:events:BTCUSDT")
    assert all(Decimal(f["atr"]) > 0 and f["regime"] in {"LOW", "NORMAL", "HIGH"} for f in features)
    ids = [f["signal_id"] for f in features if "signal" in f]
    assert ids and len(ids) == len(set(ids))
    client.close()
    assert stop(process) == 0


def test_a_restarted_house_remembers(redis_url: str, web: requests.Session, tmp_path: Path) -> None:
    options = ("--market", "manual", "--state", str(tmp_path / "paper.db"))
    process, url = start(redis_url, *options)
    client = PaperClient(url)
    client.tick("BTCUSDT", 40000)
    client.open_position("p", "BTCUSDT", "LONG", "0.3", 50)
    web.post(f"{url}/s4/orders", json=stop_order(), timeout=3)
    was = (client.positions(), client.orders())
    client.close()
    process.kill()
    with process:
        process.wait(timeout=10)
    process, url = start(redis_url, *options)
    client = PaperClient(url)
    assert (client.positions(), client.orders()) == was
    client.tick("BTCUSDT", 39900)
    assert client.position("p")["qty"] == 0
    client.close()
    assert stop(process) == 0


def test_s12_can_approve_by_itself(redis_url: str, web: requests.Session) -> None:
    asked: list[Request] = []

    def approve(request: Request) -> Answer:
        asked.append(request)
        return Answer(200 if len(asked) > 1 else 503, {})

    router = Router()
    router.add("POST", "/auto-transfer/{id}/approve", approve)
    s6 = HttpServer(router, 0)
    s6.start()
    options = ("--s6-url", f"http://127.0.0.1:{s6.port}", "--approve-token", "secret", "--auto-approve-s", "0.05")
    process, url = start(redis_url, "--market", "manual", *options)
    body = {"transfer_id": "t1", "from": "SPOT", "to": "FUT", "asset": "USDT", "amount": 5, "reason": "low"}
    for _ in range(2):
        assert web.post(f"{url}/s12/approvals", json=body, timeout=3).status_code == 202
    eventually(lambda: len(asked) == 2)
    assert [request.params["id"] for request in asked] == ["t1", "t1"]
    assert asked[0].headers["authorization"] == "Bearer secret"
    assert stop(process) == 0
    s6.stop()


def test_it_ends_at_once_on_sigterm_even_with_connections_open(redis_url: str, web: requests.Session) -> None:
    process, url = start(redis_url, "--market", "manual", "--no-strategy")
    assert web.get(f"{url}/s4/health", timeout=3).status_code == 200
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    with process:
        assert process.wait(timeout=10) == 0
    assert time.monotonic() - began < 3


def test_a_port_in_use_is_one_clear_line(redis_url: str, paper: PaperClient) -> None:
    port = paper.base_url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "s6.paper", "--redis-url", redis_url, "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().startswith(f"s6 paper: port {port}")
