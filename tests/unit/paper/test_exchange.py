"""Orders, fills and positions of the paper exchange."""

from decimal import Decimal

import pytest

from s6.paper.requests import Answer, OrderRequest
from tests.unit.paper.floor import Floor, eventually


def reason(answer: Answer) -> object:
    assert isinstance(answer.body, dict)
    return answer.body.get("reason")


def test_an_entry_is_filled_at_the_ask_with_the_exchanges_figures(floor: Floor) -> None:
    floor.tick("40000", bid="39999", ask="40001")
    answer = floor.enter("p", "LONG", "0.3", leverage="50")
    assert answer.status == 200
    (result,) = floor.results
    assert (result["status"], result["filled_qty"], result["avg_price"]) == ("FILLED", Decimal("0.3"), Decimal(40001))
    margin = Decimal("0.3") * 40001 / 50
    liquidation = (Decimal("0.3") * 40001 - margin) / (Decimal("0.3") * (1 - Decimal("0.004")))
    assert (result["isolated_margin_usdt"], result["leverage"]) == (margin, 50)
    assert result["liq_price"] == liquidation.quantize(Decimal("0.00000001"))
    assert result["fee"] == Decimal("0.3") * 40001 * Decimal("0.0004")
    assert floor.quotas == [("FUT", "EN-t-1:0.3", margin, True)]


def test_a_short_enters_at_the_bid_and_is_liquidated_above(floor: Floor) -> None:
    floor.tick("40000", bid="39999", ask="40001")
    floor.enter("p", "SHORT", "0.3", leverage="50")
    assert floor.position()["entry"] == 39999
    floor.tick("40700")
    closed = floor.results[-1]
    assert (closed["kind"], closed["reason"], closed["status"]) == ("EXIT", "LIQUIDATION", "FILLED")
    assert floor.position()["qty"] == 0


def test_later_entries_average_and_the_next_life_starts_anew(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.1")
    floor.tick("42000")
    floor.enter("p", "LONG", "0.3")
    position = floor.position()
    assert (position["qty"], position["entry"]) == (Decimal("0.4"), Decimal(41500))
    assert position["margin"] == Decimal("0.1") * 4000 + Decimal("0.3") * 4200
    assert [quota[3] for quota in floor.quotas] == [True, False]
    floor.exchange.close("p")
    floor.enter("p", "SHORT", "0.2")
    position = floor.position()
    assert (position["life"], position["side"], position["entry"]) == (2, "SHORT", 42000)
    assert floor.quotas[-1][3] is True


def test_a_stop_rests_and_fills_at_the_bid_once_the_mark_reaches_it(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    assert floor.stop("s1", "SELL", "0.3", "39900").status == 200
    floor.tick("39900.1")
    assert floor.statuses("s1") == ["NEW"]
    floor.tick("39900", bid="39890", ask="39901")
    assert floor.statuses("s1") == ["NEW", "FILLED"]
    assert floor.of("s1")[-1]["avg_price"] == 39890
    assert floor.position()["qty"] == 0


def test_margin_shrinks_with_the_position_and_the_entry_stays(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    floor.order("t1", "TP", "SELL", "0.1")
    position = floor.position()
    assert (position["qty"], position["margin"], position["entry"]) == (Decimal("0.2"), Decimal(800), 40000)


def test_money_follows_the_trades(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.1")
    floor.tick("41000")
    floor.exchange.close("p")
    fees = (Decimal(4000) + Decimal(4100)) * Decimal("0.0004")
    body = floor.wallet.balances().body
    assert isinstance(body, dict)
    assert body["FUT"]["free"] == 1000 + 100 - fees


def test_a_replay_answers_the_same_and_another_body_is_a_conflict(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    first = floor.stop("s1", "SELL", "0.3", "39900")
    assert floor.stop("s1", "SELL", "0.300", "39900.0") == first
    assert floor.stop("s1", "SELL", "0.2", "39900").status == 409
    assert len(floor.exchange.orders(live=True)) == 1


@pytest.mark.parametrize(
    ("kind", "side", "qty", "stop_px", "expected"),
    [
        ("SL", "SELL", "0.3", "40000", "WOULD_TRIGGER"),
        ("SL", "SELL", "0.3", "40100", "WOULD_TRIGGER"),
        ("SL", "SELL", "0.3", "39900.05", "PRICE_FILTER"),
        ("SL", "SELL", "0.3001", "39900", "LOT_SIZE"),
        ("SL", "BUY", "0.3", "39900", "SIDE_MISMATCH"),
        ("TP", "SELL", "0.0005", None, "LOT_SIZE"),
        ("ADD", "SELL", "0.1", None, "SIDE_MISMATCH"),
        ("ADD", "BUY", "0.0001", None, "LOT_SIZE"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(
    floor: Floor, kind: str, side: str, qty: str, stop_px: str | None, expected: str
) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    more = {"stopPx": stop_px} if stop_px else {}
    answer = floor.order("x", kind, side, qty, **more)
    assert (answer.status, reason(answer)) == (422, expected)
    assert floor.exchange.find("x").status == 404


def test_the_minima_bind_stops_at_the_stop_price_and_closes_only_in_part(floor: Floor) -> None:
    floor.tick("5000")
    floor.enter("p", "LONG", "0.003", leverage="2")
    assert reason(floor.stop("s1", "SELL", "0.001", "4999")) == "MIN_NOTIONAL"
    floor.tick("4000")
    assert reason(floor.order("t1", "TP", "SELL", "0.001")) == "MIN_NOTIONAL"
    assert floor.order("x1", "EXIT", "SELL", "0.003").status == 200


def test_without_a_market_nothing_can_be_priced(floor: Floor) -> None:
    assert reason(floor.enter("p", "LONG", "0.3")) == "NO_MARKET"


def test_a_reduce_only_order_fills_only_what_is_left(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    floor.stop("s1", "SELL", "0.3", "39900")
    floor.exchange.close("p", Decimal("0.1"))
    floor.tick("39900")
    last = floor.of("s1")[-1]
    assert (last["filled_qty"], last["status"], last["reason"]) == (Decimal("0.2"), "FILLED", "NOTHING_LEFT")


def test_with_nothing_left_a_close_expires(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    floor.stop("s1", "SELL", "0.3", "39900")
    floor.exchange.close("p")
    assert floor.order("x1", "EXIT", "SELL", "0.3").status == 200
    assert [(r["status"], r["reason"]) for r in floor.of("x1")] == [("EXPIRED", "NOTHING_LEFT")]
    floor.tick("39000")
    assert (floor.of("s1")[-1]["status"], floor.of("s1")[-1]["reason"]) == ("EXPIRED", "NOTHING_LEFT")


def test_partial_fills_grow_and_average(floor: Floor) -> None:
    floor.faults.merge({"exchange": {"partial_rate": 1, "partial_parts": 3, "fill_interval_ms": 0}})
    floor.tick("40000")
    floor.enter("p", "LONG", "0.100")
    assert [(r["status"], r["filled_qty"]) for r in floor.results] == [
        ("PARTIALLY_FILLED", Decimal("0.033")),
        ("PARTIALLY_FILLED", Decimal("0.066")),
        ("FILLED", Decimal("0.1")),
    ]
    assert [quota[3] for quota in floor.quotas] == [True, False, False]
    assert floor.position()["qty"] == Decimal("0.1")


def test_partial_fills_over_time_take_the_prices_of_their_moments(floor: Floor) -> None:
    floor.faults.merge({"exchange": {"fill_delay_ms": 0, "fill_interval_ms": 40}})
    floor.faults.merge({"exchange": {"partial_rate": 1, "partial_parts": 2}})
    floor.tick("40000")
    floor.enter("p", "LONG", "0.2")
    assert [r["status"] for r in floor.results] == ["PARTIALLY_FILLED"]
    floor.tick("41000")
    eventually(lambda: len(floor.results) == 2)
    assert (floor.results[-1]["status"], floor.results[-1]["avg_price"]) == ("FILLED", Decimal(40500))


def test_spot_sells_in_flight_never_exceed_the_holding(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.2", market="SPOT")
    floor.faults.merge({"exchange": {"fill_delay_ms": 30}})
    assert floor.order("g1", "GUARD", "SELL", "0.15", market="SPOT").status == 200
    assert reason(floor.order("g2", "GUARD", "SELL", "0.1", market="SPOT")) == "INSUFFICIENT_HOLDING"
    assert floor.order("g3", "GUARD", "SELL", "0.05", market="SPOT").status == 200
    eventually(lambda: floor.position()["qty"] == 0)


def test_a_limit_order_fills_at_its_price_or_times_out(floor: Floor) -> None:
    floor.tick("40000")
    floor.order("e1", "ENTRY", "BUY", "0.1", type="LIMIT", price="39950")
    floor.tick("39940")
    assert (floor.of("e1")[-1]["status"], floor.of("e1")[-1]["avg_price"]) == ("FILLED", 39950)
    floor.faults.merge({"exchange": {"maker_timeout_ms": 10}})
    floor.order("e2", "ENTRY", "BUY", "0.1", type="LIMIT", price="39000")
    eventually(lambda: floor.statuses("e2") == ["NEW", "EXPIRED"])
    assert floor.of("e2")[-1]["reason"] == "MAKER_TIMEOUT"


@pytest.mark.parametrize(
    "change",
    [
        {"reduceOnly": False},
        {"reduceOnly": "true"},
        {"stopPx": None},
        {"type": "MARKET"},
        {"kind": "TP"},
        {"client_order_id": "x" * 37},
        {"client_order_id": "a.b"},
        {"qty": "NaN"},
        {"qty": "-1"},
        {"qty": "0"},
        {"symbol": "btcusdt"},
        {"position_id": ".p"},
        {"market": "SPOT"},
        {"surprise": 1},
    ],
)
def test_bodies_outside_the_contract_are_not_taken(change: dict[str, object]) -> None:
    body: dict[str, object] = {
        "intent_id": "i",
        "client_order_id": "c",
        "position_id": "p",
        "symbol": "BTCUSDT",
        "market": "FUT",
        "kind": "SL",
        "side": "SELL",
        "type": "STOP_MARKET",
        "qty": "0.1",
        "stopPx": "39000",
        "reduceOnly": True,
    }
    assert OrderRequest.model_validate(body)
    with pytest.raises(ValueError, match="validation error"):
        OrderRequest.model_validate(body | change)


def test_what_the_exchange_closes_by_itself_bears_one_client_id_and_an_order_id_each(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    for _ in range(2):
        floor.exchange.close("p", Decimal("0.1"), reason="ADL")
    told = [r for r in floor.results if r["kind"] == "REDUCE"]
    assert [r["client_order_id"] for r in told] == ["adl_autoclose"] * 2
    assert len({r["order_id"] for r in told}) == 2
    assert floor.position()["qty"] == Decimal("0.1")


def test_a_stop_that_the_exchange_takes_and_ends(floor: Floor) -> None:
    floor.tick("40000")
    floor.enter("p", "LONG", "0.3")
    floor.faults.merge({"exchange": {"expire_rate": 1, "expire_ms": 1}})
    assert floor.stop("SL-1", "SELL", "0.3", "39000").status == 200
    eventually(lambda: floor.results[-1]["status"] == "EXPIRED")
    assert (floor.results[-1]["client_order_id"], floor.results[-1]["reason"]) == ("SL-1", "ENDED_BY_EXCHANGE")
