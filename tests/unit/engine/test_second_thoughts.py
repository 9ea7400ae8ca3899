"""What waits is looked at again: dropped when it is no longer to be done, overtaken by what is more urgent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6.engine.evaluation import Evaluation
from s6.model.market import Features, Tick
from s6.model.operation import Operation
from s6.model.position import Position
from s6.ports import NeighbourUnavailable
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, result, stopped

ADDING: dict[str, Any] = {
    "stop": {"fallback_pct": "0.02"},
    "add_on": {"roe_gate": "0.3", "cap": 3, "gamma": "0.5", "eta": "0.8", "signal_ttl_s": 3600},
    "tp_ladder": [{"roe": "0.8", "fraction": "0.33"}],
}


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle(fut=ADDING))


def market(desk: Desk, mark: int, *, signal: str = "LONG") -> None:
    desk.state.put_tick("BTCUSDT", Tick(desk.clock.now, D(mark), D(mark), D(mark)))
    desk.state.put_features("BTCUSDT", Features(desk.clock.now, regime="NORMAL", signal=signal, signal_id="s1",
                                                signal_ts=desk.clock.now))  # fmt: skip


def evaluate(desk: Desk) -> bool:
    """Evaluate as a worker does: what is begun is taken as far as it goes."""
    known = Evaluation(desk.governor, desk.executor, desk.reconciler)
    return known.run("p1", lambda name, op, progress: None)


def waiting(desk: Desk, mark: int) -> Operation:
    """An operation whose first try met a 503 of S4."""
    desk.put(stopped(39_200))
    market(desk, mark)
    desk.s4.down = True
    evaluate(desk)
    desk.s4.down = False
    op = desk.op()
    assert op is not None and op.attempts == 1 and op.not_before > desk.clock.now
    return op


def test_an_operators_exit_overtakes_an_add_that_waits_at_once(desk: Desk) -> None:
    add = waiting(desk, 41_300)
    assert add.kind == "ADD"
    desk.commands.execute("p1", "BTCUSDT", "FUT", "EXIT", "ann", "enough")
    evaluate(desk)
    assert desk.s4.asked == [add.client_order_id]  # S4 may have taken it
    assert [order.kind for order in desk.s4.orders] == ["EXIT"]
    assert list(desk.state.adds_reserved()) == []
    [dropped] = [d for d in history(desk) if d.get("outcome") == "ABANDONED"]
    assert (dropped["phase"], dropped["cause"]) == ("AFTER", "ADD abandoned")


def history(desk: Desk) -> list[dict[str, Any]]:
    desk.relay.run()
    return list(desk.store.history["p1"].values())


def test_an_exit_does_not_wait_for_an_s4_that_says_nothing(desk: Desk) -> None:
    add = waiting(desk, 41_300)
    desk.write(replace(desk.now(), exit_reason="OPERATOR"), add)

    def silent(name: str) -> None:
        raise NeighbourUnavailable("s4", "no answer")

    desk.s4.before = silent
    evaluate(desk)
    assert [order.kind for order in desk.s4.orders] == ["EXIT"]
    assert add.client_order_id in [o.client_order_id for o in desk.now().orders]  # asked about later


@pytest.mark.parametrize("change", ["PAUSE", "MODE", "GATE", "SIGNAL"])
def test_an_add_that_is_no_longer_to_be_made_is_dropped(desk: Desk, change: str) -> None:
    add = waiting(desk, 41_300)
    if change == "PAUSE":
        desk.write(replace(desk.now(), paused=True), add)
    elif change == "MODE":
        desk.rules.word = desk.rules.at_this_moment = "RISK_REDUCTION_ONLY"
    else:
        market(desk, 41_300 if change == "SIGNAL" else 40_500, signal="SHORT" if change == "SIGNAL" else "LONG")
    evaluate(desk)
    desk.clock.now += 10_000
    if desk.op() is not None:
        desk.executor.advance("p1", add.op_id)
    assert (desk.s4.orders, desk.op()) == ([], None)


def test_what_another_gave_up_meanwhile_is_not_sent_by_one_held_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    add = waiting(desk, 41_300)
    desk.clock.now = add.not_before
    asked: list[str] = []

    def held_up(position: Position, op: Operation) -> bool:
        desk.clock.now += 12_000
        desk.executor.supersede("p1", op.op_id)
        asked.append(op.op_id)
        return True

    monkeypatch.setattr(desk.governor, "still_wanted", held_up)
    assert desk.executor.advance("p1", add.op_id).kind == "BUSY"
    assert (asked, desk.s4.asked, desk.s4.orders, desk.op()) == ([add.op_id], [add.client_order_id], [], None)
    assert [(a[0], a[1], a[3]) for a in desk.alerts.raised] == [("FATAL", "LOCK_OVERRUN", "p1")]


def test_a_profit_that_the_market_took_back_is_dropped(desk: Desk) -> None:
    take = waiting(desk, 43_300)
    assert take.kind == "TP_PARTIAL"
    market(desk, 40_100)
    desk.clock.now += 3_600_000
    market(desk, 40_100)
    desk.executor.advance("p1", take.op_id)
    assert (desk.s4.asked, desk.s4.orders, desk.op()) == ([take.client_order_id], [], None)


@pytest.mark.parametrize(
    ("told", "filled", "status"),
    [
        ("FILLED", D("0.33"), "FILLED"),
        ("PARTIALLY_FILLED", D("0.1"), "PARTIALLY_FILLED"),
        ("NEW", D(0), "NEW"),
        ("CANCELED", D(0), "CANCELED"),
        ("CANCEL_REJECTED", D(0), "ABANDONED"),
    ],
)
def test_s4s_word_on_an_order_that_s6_had_given_up_is_what_the_books_say(
    desk: Desk, told: str, filled: D, status: str
) -> None:
    """S4 did not have it when it was asked, and took it after that."""
    take = waiting(desk, 43_300)
    market(desk, 40_100)
    desk.clock.now += 3_600_000
    market(desk, 40_100)
    desk.executor.advance("p1", take.op_id)
    given_up = desk.state.seen_order("p1", take.client_order_id)
    assert given_up is not None and given_up.status == "ABANDONED"
    desk.results.apply(result(kind="TP", side="SELL", client_order_id=take.client_order_id, status=told, qty="0.33",
                              filled_qty=str(filled), avg_price="43300" if filled else None), {})  # fmt: skip
    known = desk.state.seen_order("p1", take.client_order_id)
    assert known is not None and (known.status, known.filled, desk.now().qty) == (status, filled, 1 - filled)
    assert (desk.now().order(take.client_order_id) is not None) == (status in ("NEW", "PARTIALLY_FILLED"))


@pytest.mark.parametrize("passed", [3_600_000, -3_600_000])
@pytest.mark.parametrize(("begun", "later"), [(41_300, 39_900), (43_300, 39_900)])
def test_what_all_processes_left_behind_is_looked_at_again_by_their_successors(
    desk: Desk, begun: int, later: int, passed: int
) -> None:
    """They died between the decision and the first request, and return an hour later, or after the clock was set."""
    desk.put(stopped(39_200))
    market(desk, begun)
    op = desk.governor.evaluate("p1").op
    assert op is not None and op.kind in ("ADD", "TP_PARTIAL") and op.attempts == 0
    desk.clock.now += passed
    market(desk, later)
    desk.executor.advance("p1", op.op_id)
    assert (desk.s4.asked, desk.s4.orders, desk.op()) == ([op.client_order_id], [], None)
    assert list(desk.state.adds_reserved()) == []


def test_what_is_still_to_be_done_is_sent_with_the_same_ids(desk: Desk) -> None:
    add = waiting(desk, 41_300)
    desk.clock.now += 10_000
    market(desk, 41_400)
    desk.executor.advance("p1", add.op_id)
    assert [order.client_order_id for order in desk.s4.orders] == [add.client_order_id]


def test_a_stop_that_is_gone_overtakes_a_profit_that_waits(desk: Desk) -> None:
    waiting(desk, 43_300)
    desk.results.apply(result(kind="SL", side="SELL", type="STOP_MARKET", client_order_id="SL-1", status="EXPIRED",
                              filled_qty="0", avg_price=None), {})  # fmt: skip
    evaluate(desk)
    assert [order.kind for order in desk.s4.orders] == ["SL"]


def test_a_stop_that_waits_gives_way_to_an_exit_only(desk: Desk) -> None:
    desk.put(stopped(39_200, sl_order="", orders=()))
    market(desk, 40_000)
    desk.s4.down = True
    evaluate(desk)
    stop = desk.op()
    assert stop is not None and (stop.kind, stop.attempts) == ("STOP_MOVE", 1)
    desk.s4.down = False
    market(desk, 43_300)
    evaluate(desk)
    assert desk.op() == stop
    market(desk, 39_000)  # beyond the stop that never came
    evaluate(desk)
    assert [order.kind for order in desk.s4.orders] == ["EXIT"]


def overtaken(desk: Desk) -> Operation:
    """A stop that S4 may have taken, its answer lost, and an operator's exit."""
    desk.put(stopped(39_200, sl_order="", orders=()))
    market(desk, 40_000)
    desk.s4.down = True
    evaluate(desk)
    stop = desk.op()
    assert stop is not None
    desk.write(replace(desk.now(), exit_reason="OPERATOR"), stop)
    return stop


def taken(stop: Operation) -> Any:
    return result(kind="SL", side="SELL", type="STOP_MARKET", client_order_id=stop.client_order_id, status="NEW",
                  filled_qty="0", avg_price=None)  # fmt: skip


def moves(desk: Desk) -> list[str]:
    """The STOP_MOVE events from here on."""
    seen: list[str] = []
    desk.redis.appended = lambda stream, fields: seen.append(fields["event_id"])
    return seen


def test_a_stop_that_the_results_show_as_taken_is_accepted_before_an_exit_overtakes_it(desk: Desk) -> None:
    stop, published = overtaken(desk), moves(desk)
    desk.results.apply(taken(stop), {})
    evaluate(desk)
    assert published == [f"p1.1.STOP_MOVE.{stop.client_order_id}"]
    assert desk.now().sl_order == stop.client_order_id


def test_a_stop_that_an_exit_overtook_is_known_when_s4_shows_it(desk: Desk) -> None:
    stop, published = overtaken(desk), moves(desk)
    evaluate(desk)
    assert desk.now().sl_order == "" and published == []
    desk.results.apply(taken(stop), {})
    assert published == [f"p1.1.STOP_MOVE.{stop.client_order_id}"]
    assert (desk.now().sl_order, desk.now().sl_price) == (stop.client_order_id, stop.new_price)


def test_a_stop_that_s4_did_not_have_and_gets_late_is_known(desk: Desk) -> None:
    stop = overtaken(desk)
    desk.s4.down = False
    evaluate(desk)
    assert stop.client_order_id in desk.s4.asked and desk.now().order(stop.client_order_id) is None
    desk.results.apply(taken(stop), {})
    live = desk.now().live_stop
    assert live is not None and (live.client_order_id, live.status) == (stop.client_order_id, "NEW")


def test_a_rest_that_s4_wants_for_long_is_cut_short_and_said(desk: Desk) -> None:
    desk.put(stopped(39_200, sl_order="", orders=()))
    market(desk, 40_000)
    desk.s4.down, desk.s4.retry_after_ms = True, 86_400_000
    evaluate(desk)
    op = desk.op()
    assert op is not None and op.not_before == NOW + 60_000
    assert [(a[0], a[1]) for a in desk.alerts.raised] == [("ERROR", "S4_RETRY_AFTER")]


def test_what_protects_and_fails_for_a_minute_is_fatal_once(desk: Desk) -> None:
    desk.put(stopped(39_200, sl_order="", orders=()))
    market(desk, 40_000)
    desk.s4.down = True
    evaluate(desk)
    for _ in range(60):
        op = desk.op()
        assert op is not None
        desk.clock.now = max(desk.clock.now + 1, op.not_before)
        desk.executor.advance("p1", op.op_id)
    codes = [(a[0], a[1]) for a in desk.alerts.raised]
    assert codes == [("ERROR", "RETRIES_EXHAUSTED"), ("FATAL", "RETRIES_EXHAUSTED")]


def test_a_clock_that_is_set_back_neither_hastens_nor_hides_that_it_fails(desk: Desk) -> None:
    desk.put(stopped(39_200, sl_order="", orders=()))
    market(desk, 40_000)
    desk.s4.down = True
    evaluate(desk)
    desk.clock.now -= 3_600_000
    set_back = desk.clock.now
    fatal_at = 0
    while not fatal_at and desk.clock.now < set_back + 120_000:
        desk.clock.now += 1_000
        op = desk.op()
        assert op is not None
        desk.executor.advance("p1", op.op_id)
        fatal_at = desk.clock.now if ("FATAL", "RETRIES_EXHAUSTED") in [a[:2] for a in desk.alerts.raised] else 0
    assert 60_000 <= fatal_at - set_back <= 70_000


def test_a_wait_bears_a_clock_that_is_set_back(desk: Desk) -> None:
    desk.put(stopped(39_200, sl_order="", orders=()))
    market(desk, 40_000)
    desk.s4.down = True
    evaluate(desk)
    desk.s4.down, desk.clock.now = False, desk.clock.now - 3_600_000
    op = desk.op()
    assert op is not None and op.attempts == 1
    desk.executor.advance("p1", op.op_id)
    assert [order.client_order_id for order in desk.s4.orders] == [op.client_order_id]
