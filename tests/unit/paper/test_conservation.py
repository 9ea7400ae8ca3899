"""Whatever is asked of the exchange in whatever order: quantities and money add up, states only go forward."""

from collections import defaultdict
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from s6.paper.faults import ExchangeFaults, FaultPlan, Faults
from s6.paper.ledger import Ledger
from s6.paper.timer import Timer
from s6.paper.wallet import Wallet
from tests.unit.paper.floor import Clock, Floor

RANK = {"NEW": 0, "PARTIALLY_FILLED": 1, "FILLED": 2, "CANCELED": 2, "EXPIRED": 2, "REJECTED": 2}

actions = st.one_of(
    st.tuples(st.just("tick"), st.integers(300, 500)),
    st.tuples(st.just("enter"), st.integers(1, 300)),
    st.tuples(st.sampled_from(["TP", "REDUCE", "EXIT", "GUARD", "ADD"]), st.integers(1, 400)),
    st.tuples(st.just("stop"), st.integers(1, 400)),
    st.tuples(st.just("manual"), st.integers(1, 400)),
)


def play(floor: Floor, side: str, script: list[tuple[str, int]]) -> None:
    opening, closing = ("BUY", "SELL") if side == "LONG" else ("SELL", "BUY")
    for number, (action, size) in enumerate(script):
        qty = str(Decimal(size) / 1000)
        if action == "tick":
            floor.tick(str(size * 100), bid=str(size * 100 - 1), ask=str(size * 100 + 1))
        elif action == "enter":
            floor.enter("p", side, qty, leverage="5")
        elif action == "stop":
            mark = int(str(floor.exchange.quote("BTCUSDT").mark))  # type: ignore[union-attr]
            price = mark - 500 if side == "LONG" else mark + 500
            floor.stop(f"s{number}", closing, qty, str(price))
        elif action == "manual":
            floor.exchange.close("p", Decimal(qty))
        else:
            floor.order(f"o{number}", action, opening if action == "ADD" else closing, qty)


@settings(max_examples=50)
@given(st.sampled_from(["LONG", "SHORT"]), st.integers(1, 3), st.lists(actions, max_size=25))
def test_everything_adds_up(side: str, parts: int, script: list[tuple[str, int]]) -> None:
    clock, timer = Clock(), Timer()
    ledger = Ledger(clock=clock)
    faults = Faults(FaultPlan(exchange=ExchangeFaults(partial_rate=1, partial_parts=parts, fill_interval_ms=0)))
    wallet = Wallet(Decimal(0), Decimal(100_000), ledger=ledger, faults=faults)
    floor = Floor(ledger, faults, timer, wallet, clock)
    floor.tick("40000")
    play(floor, side, script)
    timer.stop()

    held = paid = fees = Decimal(0)
    direction = 1 if side == "LONG" else -1
    for fill in ledger.records(what="fill"):
        qty, price, fee = (Decimal(str(fill[name])) for name in ("qty", "price", "fee"))
        sign = 1 if fill["kind"] in {"ENTRY", "ADD"} else -1
        held += sign * qty
        paid += sign * qty * price * direction
        fees += fee
        assert held >= 0
    positions = floor.exchange.positions()
    assert sum((Decimal(str(p["qty"])) for p in positions), Decimal(0)) == held
    if held:
        (position,) = positions
        entry, margin = Decimal(str(position["entry"])), Decimal(str(position["margin"]))
        paid -= held * entry * direction
    else:
        margin = Decimal(0)
    balances = wallet.balances().body
    assert isinstance(balances, dict)
    assert abs(balances["FUT"]["free"] - (100_000 - margin - paid - fees)) < Decimal("0.00001")

    seen: dict[object, list[tuple[int, Decimal]]] = defaultdict(list)
    for result in floor.results:
        filled = Decimal(str(result["filled_qty"]))
        assert filled <= Decimal(str(result["qty"]))
        seen[result["client_order_id"]].append((RANK[str(result["status"])], filled))
    for states in seen.values():
        assert states == sorted(states)
        assert sum(rank == 2 for rank, _ in states) <= 1
