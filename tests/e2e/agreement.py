"""What S6 says of a position against the paper exchange's ledger, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby, pairwise
from typing import Any

from tests.e2e.running import D, Running, near, total
from tests.support.paper_client import Item
from tests.support.waiting import wait_for

EVENT_OF = {"ENTRY": "ENTRY", "ADD": "ADD", "TP": "TP_PARTIAL", "REDUCE": "RISK_DOWNGRADE"}


def agrees(s6: Running, position_id: str, symbol: str, *, in_order: bool = True) -> None:
    """Events, snapshots, ``pos:*`` and quotas are what the ledger says. ``in_order``: no result came late or twice."""
    held = s6.paper.position(position_id)
    state = s6.holds(position_id, str(held["qty"]))
    state_agrees(state, held, s6.ledger(position_id, "fill"))
    stop_agrees(s6, position_id, state)
    events_agree(s6, position_id, symbol)
    snapshots_agree(s6, position_id, in_order=in_order)
    s6.quotas_agree()
    assert s6.violations(position_id) == []


def state_agrees(state: dict[str, str], held: Item, fills: list[Item]) -> None:
    flat = held["qty"] == 0
    assert state["status"] == ("CLOSED" if flat else "OPEN")
    assert (state["symbol"], state["market"], state["side"]) == (held["symbol"], held["market"], held["side"])
    if not flat:
        assert near(state["entry_price_avg"], held["entry"])
        assert near(state["isolated_margin_usdt"], held["margin"])
    life = [fill for fill in fills if fill["life"] == held["life"]]
    assert near(state["realized_pnl_usdt"], realized(life, 1 if held["side"] == "LONG" else -1))
    assert D(state["q0"]) == total([fill for fill in life if fill["kind"] == "ENTRY"], "qty")
    assert D(state["added_qty"]) == total([fill for fill in life if fill["kind"] == "ADD"], "qty")


def realized(fills: list[Item], direction: int) -> Decimal:
    """By average cost, net of fees; folded here once more, from the fills alone."""
    qty, cost, profit = D(0), D(0), D(0)
    for fill in fills:
        much, price = D(str(fill["qty"])), D(str(fill["price"]))
        profit -= D(str(fill["fee"]))
        if fill["kind"] in ("ENTRY", "ADD"):
            qty, cost = qty + much, cost + much * price
        else:
            profit += (price - cost / qty) * much * direction
            cost -= cost / qty * much
            qty -= much
    return profit


def stop_agrees(s6: Running, position_id: str, state: dict[str, str]) -> None:
    if D(state["qty"]) == 0:
        assert s6.stop(position_id) == {}
        wait_for(lambda: not s6.orders(position_id, live=True), 5, "no live order after the close")
        return
    if state["market"] == "SPOT":
        assert s6.orders(position_id, kind="SL") == []
        return
    stop = s6.protected(position_id, qty=state["qty"])
    live = s6.orders(position_id, kind="SL", live=True)
    assert [(o["client_order_id"], o["stopPx"], o["qty"], o["reduceOnly"]) for o in live] == [
        (stop["client_order_id"], D(stop["price"]), D(stop["qty"]), True)
    ]


def events_agree(s6: Running, position_id: str, symbol: str) -> None:
    fills = s6.ledger(position_id, "fill")
    lives = {fill["life"] for fill in fills}
    closes = len(lives) - (s6.paper.position(position_id)["qty"] != 0)
    wait_for(
        lambda: len(s6.events(symbol, "EXIT", position_id=position_id)) == closes, 5, f"{closes} EXIT of {position_id}"
    )
    waiting = f"pos:outbox:{{{position_id}}}:events"
    wait_for(lambda: not s6.redis.llen(waiting), 5, "no event on its way")  # they are handed on right after the commit
    events = s6.events(symbol, position_id=position_id)
    assert len({e["event_id"] for e in events}) == len(events)
    for kind, name in EVENT_OF.items():
        fresh = [e for e in events if e["type"] == name]
        done = [f for f in fills if f["kind"] == kind]
        assert total(fresh, "qty") == total(done, "qty")
        assert near(worth(fresh), worth(done))
    moves = [
        e for e in events if e["type"] == "STOP_MOVE" and not e["event_id"].rpartition(".")[2].startswith("guard-")
    ]
    told = [(D(e["price"]), D(e["qty"])) for e in moves]
    placed = [(o["stopPx"], o["qty"], o["status"]) for o in s6.orders(position_id, kind="SL")]
    for place, (price, qty, status) in enumerate(placed):
        if status == "REJECTED" and told[place : place + 1] != [(price, qty)]:
            told.insert(place, (price, qty))  # type: ignore[arg-type]  # refused before its 200 was read: no event
    assert told == [stop[:2] for stop in placed]
    refused = any(o["status"] == "REJECTED" for o in s6.orders(position_id, kind="SL"))
    for before, after in pairwise(moves):
        if after["data"]["old"] is not None and not refused:  # a stop that was refused after all moved nothing
            assert after["data"]["old"] == before["data"]["new"]


def worth(items: list[dict[str, Any]] | list[Item]) -> Decimal:
    return sum((D(str(item["qty"])) * D(str(item["price"])) for item in items), D(0))


def snapshots_agree(s6: Running, position_id: str, *, in_order: bool = True) -> None:
    shots = s6.timeline(position_id)
    state = s6.state(position_id)
    assert [shot["seq"] for shot in shots] == list(range(1, int(state["seq"]) + 1))
    assert {shot["phase"] for shot in shots} <= {"BEFORE", "AFTER", "RESULT"}
    assert all(a["ts"] <= b["ts"] for a, b in pairwise(shots))
    assert (shots[0]["phase"], shots[0]["cause"].split()[0]) == ("RESULT", "ENTRY")
    last = shots[-1]
    for name in ("qty", "entry_price_avg", "realized_pnl_usdt", "sl_level", "add_on_count", "isolated_margin_usdt"):
        assert D(str(last[name])) == D(state[name]), name
    assert last["status"] == state["status"]
    if in_order:
        seen = [qty for qty, _ in groupby(D(str(s["qty"])) for s in shots if s["phase"] == "RESULT")]
        true = [qty for qty, _ in groupby(D(str(r["qty"])) for r in s6.ledger(position_id, "position"))]
        assert seen == true
