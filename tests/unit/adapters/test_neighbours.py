"""The neighbours' adapters: requests as the contract spells them, every answer of the contract understood."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from s6.adapters.http import Neighbour
from s6.adapters.s1 import S1Wallets
from s6.adapters.s4 import S4Orders
from s6.adapters.s10 import Fetched, S10Config
from s6.adapters.s12 import S12Approvals
from s6.model import jsonx
from s6.model.answers import Balances, CancelAnswer, Placed, Refused, TransferAnswer
from s6.model.position import Order, Position
from s6.model.types import Market, OrderKind
from s6.ports import NeighbourUnavailable, UnexpectedAnswer
from tests.support.doubles import ManualClock, MemoryBreaker, MemoryMetrics
from tests.support.http_server import HttpServer, Reply
from tests.unit.adapters.kept import Kept


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer(lambda asked: Reply()) as server:
        yield server


@pytest.fixture
def breaker() -> MemoryBreaker:
    return MemoryBreaker()


@pytest.fixture
def neighbour(server: HttpServer, breaker: MemoryBreaker) -> Neighbour:
    return Neighbour("sX", server.url, breaker, MemoryMetrics())


def s1_wallets(neighbour: Neighbour) -> S1Wallets:
    return Kept().s1(neighbour)


def s4_orders(neighbour: Neighbour) -> S4Orders:
    return Kept().s4(neighbour)


def position(market: Market = "FUT") -> Position:
    return Position("p-1", "BTCUSDT", market, "LONG", qty=Decimal("0.5"))


def order(kind: OrderKind = "SL", stop_px: str | None = "43000.10") -> Order:
    return Order(
        client_order_id="c-1",
        intent_id="i-1",
        kind=kind,
        side="SELL",
        type="STOP_MARKET" if stop_px else "MARKET",
        qty=Decimal("0.500"),
        status="PENDING",
        sent_ts=1,
        life=1,
        ours=True,
        stop_px=Decimal(stop_px) if stop_px else None,
    )


def test_an_order_has_exactly_the_contract_s_members(server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(body=b'{"client_order_id":"c-1","order_id":"7","status":"NEW"}')
    s4 = s4_orders(neighbour)
    assert s4.place(position(), order()) == Placed("NEW")
    assert s4.place(position(), order()) == Placed("NEW")
    first, second = server.asked
    assert (first.method, first.path) == ("POST", "/orders")
    assert first.body == second.body
    assert jsonx.loads(first.body) == {
        "intent_id": "i-1",
        "client_order_id": "c-1",
        "position_id": "p-1",
        "symbol": "BTCUSDT",
        "market": "FUT",
        "kind": "SL",
        "side": "SELL",
        "type": "STOP_MARKET",
        "qty": Decimal("0.5"),
        "stopPx": Decimal("43000.1"),
        "reduceOnly": True,
    }


@pytest.mark.parametrize(
    ("market", "kind", "reduce_only"),
    [("FUT", kind, True) for kind in ("SL", "TP", "REDUCE", "EXIT", "GUARD")]
    + [("FUT", "ADD", False)]
    + [("SPOT", kind, False) for kind in ("TP", "EXIT", "GUARD")],
)
def test_reduce_only(
    market: Market, kind: OrderKind, reduce_only: bool, server: HttpServer, neighbour: Neighbour
) -> None:
    s4_orders(neighbour).place(position(market), order(kind, None))
    sent = jsonx.loads(server.asked[0].body)
    assert sent["reduceOnly"] is reduce_only
    assert "stopPx" not in sent


@pytest.mark.parametrize(
    ("reply", "refused"),
    [
        (Reply(422, b'{"reason":"WOULD_TRIGGER"}'), "WOULD_TRIGGER"),
        (Reply(422, b"{}"), "HTTP_422"),
        (Reply(409, b'{"reason":"x"}'), "ID_CONFLICT"),
    ],
)
def test_refused_orders(reply: Reply, refused: str, server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: reply
    assert s4_orders(neighbour).place(position(), order()) == Refused(refused)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_another_4xx_for_an_order_is_no_refusal(status: int, server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(status, b'{"reason":"x"}')
    with pytest.raises(UnexpectedAnswer, match=f"HTTP {status}"):
        s4_orders(neighbour).place(position(), order())


def test_an_answer_about_another_order_is_none(server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(body=b'{"client_order_id":"c-2","order_id":"7","status":"NEW"}')
    with pytest.raises(NeighbourUnavailable):
        s4_orders(neighbour).place(position(), order())


def test_adds_are_not_sent_to_an_s4_that_is_down(
    server: HttpServer, neighbour: Neighbour, breaker: MemoryBreaker
) -> None:
    breaker.down = True
    with pytest.raises(NeighbourUnavailable):
        s4_orders(neighbour).place(position(), order("ADD", None))
    assert server.asked == []
    s4_orders(neighbour).place(position(), order("EXIT", None))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(202, b'{"client_order_id":"c-1","status":"CANCEL_PENDING"}'), "PENDING"),
        (Reply(404, b"{}"), "UNKNOWN"),
        (Reply(409, b'{"status":"FILLED"}'), "FILLED"),
        (Reply(409, b'{"status":"CANCELED"}'), "CANCELED"),
        (Reply(400, b"{}"), "REFUSED"),
    ],
)
def test_cancel(reply: Reply, status: str, server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: reply
    assert s4_orders(neighbour).cancel(position(), "c-1", "i-9") == CancelAnswer(status)
    assert server.asked[0].path == "/cancel"
    assert jsonx.loads(server.asked[0].body) == {
        "intent_id": "i-9",
        "client_order_id": "c-1",
        "position_id": "p-1",
        "symbol": "BTCUSDT",
    }


def test_query(server: HttpServer, neighbour: Neighbour) -> None:
    s4 = s4_orders(neighbour)
    known = (
        b'{"ts":1,"symbol":"BTCUSDT","market":"FUT","position_id":"p-1","client_order_id":"c-1","intent_id":"i",'
        b'"kind":"SL","side":"SELL","type":"STOP_MARKET","status":"FILLED","qty":0.5,"filled_qty":0.5,'
        b'"avg_price":43000.1,"fee":null}'
    )
    server.respond = lambda asked: Reply(body=known)
    found = s4.query("c-1")
    assert found is not None
    assert (found.status, found.filled_qty, found.avg_price) == ("FILLED", Decimal("0.5"), Decimal("43000.1"))
    assert (server.asked[0].method, server.asked[0].path) == ("GET", "/orders/c-1")
    server.respond = lambda asked: Reply(404)
    assert s4.query("c-1") is None
    for reply in (Reply(200, b'{"status":"FILLED"}'), Reply(403), Reply(200, known.replace(b"c-1", b"c-2"))):
        server.respond = lambda asked, reply=reply: reply  # type: ignore[misc]
        with pytest.raises(NeighbourUnavailable):
            s4.query("c-1")


def test_balances(server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(body=b'{"asset":"USDT","SPOT":{"free":10.10},"FUT":{"free":"-1"},"ts":1}')
    assert s1_wallets(neighbour).balances("USDT") == Balances(Decimal("10.1"), Decimal(-1), 1)
    assert server.asked[0].path == "/xchg/treasury/balances?asset=USDT"
    for odd in (
        {},
        {"SPOT": {"free": "x"}},
        {"SPOT": {"free": "NaN"}},
        {"SPOT": 1},
        {"ts": None},
        {"ts": "yesterday"},
        {"ts": ManualClock().now_ms() + 5_001},
    ):
        known = {"SPOT": {"free": 1}, "FUT": {"free": 1}, "ts": 1} if odd else {}
        body = jsonx.dumps(known | odd).encode()
        server.respond = lambda asked, body=body: Reply(body=body)  # type: ignore[misc]
        with pytest.raises(NeighbourUnavailable, match="malformed balances"):
            s1_wallets(neighbour).balances("USDT")


def test_transfer(server: HttpServer, neighbour: Neighbour) -> None:
    s1 = s1_wallets(neighbour)
    server.respond = lambda asked: Reply(body=b'{"transfer_id":"t","status":"EXECUTED","tx_id":"x9"}')
    assert s1.transfer("t", "SPOT", "FUT", "USDT", Decimal("12.50")) == TransferAnswer("EXECUTED", "x9", "")
    asked = server.asked[0]
    assert asked.headers["Idempotency-Key"] == "t"
    assert jsonx.loads(asked.body) == {
        "transfer_id": "t",
        "from": "SPOT",
        "to": "FUT",
        "asset": "USDT",
        "amount": Decimal("12.5"),
    }
    server.respond = lambda asked: Reply(body=b'{"status":"FAILED","reason":"LIMIT"}')
    assert s1.transfer("t", "SPOT", "FUT", "USDT", Decimal(1)) == TransferAnswer("FAILED", "", "LIMIT")
    server.respond = lambda asked: Reply(400, b"{}")
    assert s1.transfer("t", "SPOT", "FUT", "USDT", Decimal(1)) == TransferAnswer("FAILED", "", "HTTP_400")
    server.respond = lambda asked: Reply(body=b'{"status":"MAYBE"}')
    with pytest.raises(NeighbourUnavailable):
        s1.transfer("t", "SPOT", "FUT", "USDT", Decimal(1))


def test_active_bundle_by_etag(server: HttpServer, neighbour: Neighbour) -> None:
    s10 = S10Config(neighbour)
    server.respond = lambda asked: Reply(
        304 if asked.headers.get("If-None-Match") == '"7"' else 200, b"not even json", {"ETag": '"7"'}
    )
    assert s10.active() == Fetched("not even json", '"7"')
    assert s10.active('"7"') is None
    server.respond = lambda asked: Reply(200, b"\xff")
    with pytest.raises(NeighbourUnavailable):
        s10.active()
    server.respond = lambda asked: Reply(404)
    with pytest.raises(NeighbourUnavailable):
        s10.active()


def test_approvals(server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(202)
    approvals = S12Approvals(neighbour)
    assert approvals.ask("t", "SPOT", "FUT", "USDT", Decimal(5), "low") == ""
    assert jsonx.loads(server.asked[0].body) == {
        "transfer_id": "t",
        "from": "SPOT",
        "to": "FUT",
        "asset": "USDT",
        "amount": 5,
        "reason": "low",
    }
    server.respond = lambda asked: Reply(422, b'{"reason": "NO_SUCH_DESK"}')
    assert approvals.ask("t", "SPOT", "FUT", "USDT", Decimal(5), "low") == "HTTP 422 NO_SUCH_DESK"


FILLED = {
    "ts": 1, "symbol": "BTCUSDT", "market": "FUT", "position_id": "p-1", "client_order_id": "c-1", "kind": "TP",
    "side": "SELL", "type": "MARKET", "status": "CANCELED", "qty": Decimal("0.5"), "filled_qty": Decimal("0.2"),
    "avg_price": Decimal(43000),
}  # fmt: skip


@pytest.mark.parametrize(
    ("odd", "understood", "codes"),
    [
        ({"status": "EXPIRED_IN_MATCH", "type": "TAKE_PROFIT_MARKET", "avg_price": None},
         ("EXPIRED", "LIMIT", Decimal("0.2"), None), ["RESULT_UNCLEAR"]),
        ({"client_order_id": None}, ("CANCELED", "MARKET", Decimal("0.2"), Decimal(43000)), []),
        ({"order_id": 55, "intent_id": 7, "reason": 9}, ("CANCELED", "MARKET", Decimal("0.2"), Decimal(43000)), []),
        ({"kind": "ENTRY", "leverage": Decimal("1e30"), "liq_price": Decimal("-12.5")},
         ("CANCELED", "MARKET", Decimal("0.2"), Decimal(43000)), []),
    ],
)  # fmt: skip
def test_what_can_be_understood_of_an_order_is_used(
    odd: dict[str, object], understood: tuple[object, ...], codes: list[str], server: HttpServer, neighbour: Neighbour
) -> None:
    kept = Kept()
    fields = {name: value for name, value in {**FILLED, **odd}.items() if name != "client_order_id" or value}
    server.respond = lambda asked: Reply(body=jsonx.dumps(fields).encode())
    found = kept.s4(neighbour).query("c-1")
    assert found is not None
    assert found.client_order_id == "c-1"
    assert (found.status, found.type, found.filled_qty, found.avg_price) == understood
    assert [(severity, code) for severity, code, _, _ in kept.alerts.raised] == [("ERROR", code) for code in codes]
    assert all("c-1" in detail for _, _, detail, _ in kept.alerts.raised)


@pytest.mark.parametrize(
    "odd",
    [
        {"filled_qty": "much"},
        {"kind": []},
        {"side": {}},
        {"ts": 1_700_000_000_000 + 5_001},
        {"client_order_id": "c-2"},
        {"reason": "\ud800"},
        {"qty": Decimal("1e19"), "filled_qty": Decimal("1e19")},
    ],
)
def test_an_order_that_cannot_be_read_is_named(
    odd: dict[str, object], server: HttpServer, neighbour: Neighbour
) -> None:
    kept = Kept()
    server.respond = lambda asked: Reply(body=jsonx.dumps({**FILLED, **odd}).encode())
    with pytest.raises(NeighbourUnavailable, match="malformed order"):
        kept.s4(neighbour).query("c-1")
    [(severity, code, detail, _)] = kept.alerts.raised
    assert (severity, code) == ("ERROR", "ORDER_UNREADABLE")
    assert "c-1" in detail


@pytest.mark.parametrize("free", ["1e19", "1e-19", "1e9999999999999999999", '"NaN"', "true", '"' + "1" * 65 + '"'])
def test_balances_beyond_all_sizes_are_no_answer(free: str, server: HttpServer, neighbour: Neighbour) -> None:
    server.respond = lambda asked: Reply(body=f'{{"SPOT":{{"free":{free}}},"FUT":{{"free":1}},"ts":1}}'.encode())
    with pytest.raises(NeighbourUnavailable, match="malformed balances"):
        s1_wallets(neighbour).balances("USDT")
