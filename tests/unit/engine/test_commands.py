"""What operators ask of one position, and what they are shown."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6 import keys
from s6.engine.commands import Busy, Mismatch, NotFound, PlanView
from s6.engine.operation import begin
from s6.model.commit import Alert
from s6.model.market import Tick
from s6.model.position import Position
from s6.plan import Action
from s6.ports import StateUnavailable
from tests.doubles.memory_redis import no_hook
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, result, stopped
from tests.unit.losses import lost


@pytest.fixture
def desk() -> Desk:
    desk = Desk(bundle())
    desk.state.put_tick("BTCUSDT", Tick(NOW, D(40_000), D(40_000), D(40_000)))
    return desk


def ask(desk: Desk, word: str, market: str = "FUT", symbol: str = "BTCUSDT") -> PlanView:
    return desk.commands.execute("p1", symbol, market, word, "ann", "a test")


def actions(shown: PlanView) -> list[dict[str, Any]]:
    plan: Any = shown.as_dict()["plan"]
    return list(plan["actions"])


def causes(desk: Desk) -> list[object]:
    desk.relay.run()
    return [(doc["phase"], doc["cause"]) for doc in desk.store.history["p1"].values()]


def test_who_is_unknown_or_another_is_refused(desk: Desk) -> None:
    with pytest.raises(NotFound):
        ask(desk, "PLAN")
    desk.put(position())
    with pytest.raises(Mismatch) as wrong:
        ask(desk, "EXIT", "SPOT", "ETHUSDT")
    assert wrong.value.fields == {"symbol": "the position's is BTCUSDT", "market": "the position's is FUT"}
    with pytest.raises(Mismatch) as wrong:
        ask(desk, "EXIT", "SPOT")
    assert set(wrong.value.fields) == {"market"}
    assert desk.now().exit_reason == ""


@pytest.mark.parametrize("word", ["EVAL", "EXIT", "PAUSE", "RESUME"])
def test_while_it_is_governed_it_is_busy(desk: Desk, word: str) -> None:
    desk.put(position())
    desk.state.lock(*keys.position_lock("p1"))
    with pytest.raises(Busy):
        ask(desk, word)
    assert actions(ask(desk, "PLAN"))


@pytest.mark.parametrize("word", ["EVAL", "EXIT", "PAUSE", "RESUME"])
def test_the_lock_is_given_back(desk: Desk, word: str) -> None:
    desk.put(stopped(39_300))
    ask(desk, word)
    assert desk.state.lock(*keys.position_lock("p1")) is not None


def test_a_plan_is_shown_and_not_carried_out(desk: Desk) -> None:
    before = desk.put(position())
    body = ask(desk, "PLAN").as_dict()
    assert body["plan"] == {
        "plan_id": "plan-p1-1-1",
        "actions": [
            {"type": "STOP_MOVE", "old": None, "new": D(39_200), "level": 0, "qty": D(1), "reason": "FIRST"},
        ],
    }
    new = {"kind": "NEW", "type": "STOP_MARKET", "reduceOnly": True, "stopPx": D(39_200), "side": "SELL", "qty": D(1)}
    assert body["orders"] == [new]
    assert (body["position_id"], body["status"], body["paused"]) == ("p1", "OPEN", False)
    assert (desk.now(), desk.op(), desk.hints.driven, desk.hints.evaluated) == (before, None, [], [])


def shown(action: Action, **held: Any) -> dict[str, Any]:
    return PlanView("plan", position(**held), (action,)).as_dict()


def test_the_requests_that_a_plan_stands_for() -> None:
    move = Action("STOP_MOVE", "TRAIL", D(1), D(1), D(2), 3, target="SL-1")
    cancel, new = shown(move, side="SHORT")["orders"]
    assert (cancel, new["side"]) == ({"kind": "CANCEL", "target": "SL-1"}, "BUY")
    assert shown(replace(move, target="", guard=True))["orders"] == []
    take = {"kind": "NEW", "type": "MARKET", "reduceOnly": True, "side": "SELL", "qty": D("0.3")}
    assert shown(Action("TP_PARTIAL", "RUNG", D("0.3"), rungs=(0, 1)))["orders"] == [take]
    assert shown(Action("TP_PARTIAL", "RUNG", D("0.3")), market="SPOT")["orders"] == [{**take, "reduceOnly": False}]
    assert shown(Action("ADD", "SIGNAL", D("0.3")))["orders"] == [{**take, "reduceOnly": False, "side": "BUY"}]
    assert shown(Action("CLEANUP", "CLOSED", target="SL-1"))["orders"] == [cancel]
    assert shown(Action("STAGNATED", "NO_NEW_BEST"))["orders"] == []


def test_actions_show_what_belongs_to_them() -> None:
    take = shown(Action("TP_PARTIAL", "RUNG", D("0.3"), rungs=(0, 1)))["plan"]["actions"]
    assert take == [{"type": "TP_PARTIAL", "qty": D("0.3"), "rungs": [0, 1], "reason": "RUNG"}]
    assert shown(Action("STAGNATED", "NO_NEW_BEST"))["plan"]["actions"] == [
        {"type": "STAGNATED", "reason": "NO_NEW_BEST"}
    ]


def test_an_evaluation_by_hand_is_handed_on_and_noted(desk: Desk) -> None:
    desk.put(position())
    view = ask(desk, "EVAL")
    op = desk.op()
    assert op is not None and view.op == op
    assert view.plan_id == f"plan-p1-1-{op.op_id}"
    assert desk.hints.driven == [op.op_id]
    assert causes(desk)[-1] == ("BEFORE", "EVAL by ann: a test: STOP_MOVE FIRST")
    with pytest.raises(Busy):  # one operation at a time
        ask(desk, "EVAL")


def test_an_exit_is_begun_at_once_and_sticks(desk: Desk) -> None:
    desk.put(stopped(39_300, exit_not_before=NOW + 60_000))
    view = ask(desk, "EXIT")
    assert [(a["type"], a["qty"]) for a in actions(view)] == [("EXIT", D(1))]
    assert (desk.now().exit_reason, desk.now().exit_not_before) == ("OPERATOR", 0)
    assert ("AFTER", "EXIT by ann: a test") in causes(desk)
    op = desk.op()
    assert op is not None and (op.kind, op.reason) == ("EXIT", "OPERATOR")


def test_an_exit_during_an_operation_waits_for_its_end(desk: Desk) -> None:
    held, op = begin(stopped(39_300), Action("STOP_MOVE", "TRAIL", D(1), target="SL-1"), NOW)
    desk.put(held, op)
    view = ask(desk, "EXIT")
    assert [(a["type"], a["reason"], a["qty"]) for a in actions(view)] == [("EXIT", "OPERATOR", D(1))]
    assert (desk.op(), desk.now().exit_reason, desk.hints.driven) == (op, "OPERATOR", [])
    with pytest.raises(Busy):  # it is noted already
        ask(desk, "EXIT")


def test_an_exit_that_is_due_keeps_its_reason(desk: Desk) -> None:
    desk.put(stopped(39_300, exit_reason="STOP_REFUSED"))
    ask(desk, "EXIT")
    assert desk.now().exit_reason == "STOP_REFUSED"


def test_a_closed_position_has_nothing_to_leave(desk: Desk) -> None:
    desk.put(position(status="CLOSED", qty=D(0)))
    assert actions(ask(desk, "EXIT")) == []
    assert desk.now().exit_reason == ""


def test_a_pause_holds_until_it_is_taken_back(desk: Desk) -> None:
    desk.put(stopped(39_300))
    assert ask(desk, "PAUSE").as_dict()["paused"] is True
    assert (desk.now().paused, desk.hints.evaluated) == (True, ["p1"])
    rev = desk.now().rev
    assert ask(desk, "PAUSE").position.paused
    assert desk.now().rev == rev  # nothing changed
    assert ask(desk, "RESUME").position.paused is False
    assert (desk.now().paused, desk.hints.evaluated) == (False, ["p1", "p1"])
    assert causes(desk)[1:] == [("AFTER", "PAUSE by ann: a test"), ("AFTER", "RESUME by ann: a test")]


def test_a_pause_leaves_an_operation_as_it_is(desk: Desk) -> None:
    held, op = begin(stopped(39_300), Action("STOP_MOVE", "TRAIL", D(1), target="SL-1"), NOW)
    desk.put(held, op)
    ask(desk, "PAUSE")
    assert (desk.now().paused, desk.op()) == (True, op)


def test_a_closed_position_is_not_paused(desk: Desk) -> None:
    desk.put(position(status="CLOSED", qty=D(0)))
    assert ask(desk, "PAUSE").position.paused is False
    assert (desk.now().paused, desk.hints.evaluated) == (False, [])


@pytest.mark.parametrize("word", ["PAUSE", "EXIT"])
def test_who_writes_first_makes_it_busy(desk: Desk, word: str) -> None:
    desk.put(stopped(39_300))

    def interrupts(name: str, key: str, writes: bool) -> None:
        if name in ("evalsha", "script _commit"):
            desk.redis.hook = no_hook
            desk.write(desk.now())

    desk.redis.hook = interrupts
    with pytest.raises(Busy):
        ask(desk, word)
    assert (desk.now().paused, desk.now().exit_reason) == (False, "")


def test_without_a_bundle_there_is_no_plan(desk: Desk) -> None:
    desk.put(position())
    desk.rules.bundle = None
    for word in ("PLAN", "EVAL"):
        with pytest.raises(StateUnavailable):
            ask(desk, word)
    with pytest.raises(StateUnavailable):
        ask(desk, "EXIT")
    assert desk.now().exit_reason == "OPERATOR"  # and is carried out when there is one


def test_a_long_reason_is_cut(desk: Desk) -> None:
    desk.put(stopped(39_300))
    desk.commands.execute("p1", "BTCUSDT", "FUT", "PAUSE", "ann", "x" * 900)
    assert len(desk.now().cause) == 500


def test_an_acknowledgement_is_noted_once_in_the_history(desk: Desk) -> None:
    held, op = begin(stopped(39_300), Action("STOP_MOVE", "TRAIL", D(1), target="SL-1"), NOW)
    before: Position = desk.put(held, op)
    for name, position_id in (("al-1", "p1"), ("al-2", ""), ("al-3", "gone")):
        desk.alerts.deliver(Alert(name, 1, "FATAL", "STOP_MOVE_FAILED", position_id, "both refused"))
    first = desk.commands.acknowledge("al-1", by="ann")
    assert first is not None and first["ack"] == {"by": "ann", "note": ""}
    assert desk.commands.acknowledge("al-1", by="bob", note="late") == first
    assert desk.commands.acknowledge("al-2", by="ann") is not None
    assert desk.commands.acknowledge("al-3", by="ann") is not None
    assert desk.commands.acknowledge("al-9", by="ann") is None
    assert causes(desk)[1:] == [("AFTER", "ACK by ann: both refused (FATAL STOP_MOVE_FAILED)")]
    assert replace(desk.now(), rev=0, seq=0, cause="") == replace(before, rev=0, seq=0, cause="")
    assert desk.op() == op
    desk.commands.note("p1", "y" * 900)
    assert desk.now().cause == "y" * 500


def test_an_unverified_position_has_an_empty_plan_and_an_exit_is_remembered(desk: Desk) -> None:
    desk.put(lost())
    for word, hints in (("PLAN", 0), ("EVAL", 1), ("EXIT", 2)):
        assert actions(ask(desk, word)) == []
        assert desk.hints.evaluated == ["p1"] * hints
    assert desk.now().exit_reason == "OPERATOR"
    desk.reconciler.verify("p1")
    outcome = desk.governor.evaluate("p1")
    assert outcome.op is not None and outcome.op.kind == "EXIT"


def test_a_write_off_publishes_the_stop_that_s4_has_taken_meanwhile(desk: Desk) -> None:
    desk.put(position())
    op = desk.governor.evaluate("p1").op
    assert op is not None and op.order is not None
    given = {"kind": "SL", "side": "SELL", "type": "STOP_MARKET", "client_order_id": op.client_order_id}
    desk.results.apply(result(status="NEW", filled_qty="0", avg_price=None, leverage=None, **given), {})
    told: list[str] = []
    desk.redis.appended = lambda stream, fields: told.append(fields["event_id"])
    shown = ask(desk, "WRITE_OFF")  # before who sent it has noted S4's answer
    assert told == [f"p1.1.STOP_MOVE.{op.client_order_id}", "p1.1.EXIT"]
    assert (shown.position.status, desk.op()) == ("CLOSED", None)
    assert [o.client_order_id for o in shown.position.orders if o.live] == [op.client_order_id]  # for CLEANUP
