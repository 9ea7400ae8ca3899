"""An exit, protection and a cut in risk go before what waits; nothing else does."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest

from s6.engine.operation import begin
from s6.engine.precedence import as_before, overtakes, same_decision
from s6.model.operation import Operation
from s6.model.position import Order
from s6.plan import Action
from tests.unit.given import NOW, position, stopped

KINDS = ("EXIT", "RISK_DOWNGRADE", "STOP_MOVE", "TP_PARTIAL", "ADD", "CLEANUP")


def action(kind: Any, **members: Any) -> Action:
    return Action(kind, "WHY", **{"qty": D(1), "target": "SL-1" if kind in ("STOP_MOVE", "CLEANUP") else "", **members})


def waiting(kind: Any, **members: Any) -> Operation:
    return begin(stopped(39_000), action(kind, **members), NOW)[1]


def before(planned: Action, op: Operation, *, protected: bool = True) -> bool:
    return overtakes(planned, stopped(39_000) if protected else position(), op)


def test_only_what_lessens_risk_overtakes_and_only_what_is_less_urgent() -> None:
    """A move of a stop that lives waits for its turn like all else."""
    seen = {(new, old) for new in KINDS for old in KINDS if before(action(new), waiting(old))}
    assert seen == {("EXIT", old) for old in KINDS if old != "EXIT"} | {
        ("RISK_DOWNGRADE", old) for old in ("STOP_MOVE", "TP_PARTIAL", "ADD", "CLEANUP")
    }


def test_a_stop_where_there_is_none_goes_behind_an_exit_only() -> None:
    first = action("STOP_MOVE", target="")
    assert [old for old in KINDS if before(first, waiting(old), protected=False)] == [
        k for k in KINDS if k not in ("EXIT",)
    ]
    assert not before(first, waiting("STOP_MOVE", target=""), protected=False)  # it is on its way
    assert not before(action("STOP_MOVE", target="", guard=True), waiting("ADD"), protected=False)
    assert not before(action("STAGNATED"), waiting("CLEANUP"))
    assert not before(action("RISK_DOWNGRADE"), waiting("STOP_MOVE", target=""))


@pytest.mark.parametrize(
    ("planned", "same"),
    [
        ({"qty": D("0.4"), "rungs": (0,)}, True),
        ({"qty": D("0.5"), "rungs": (0, 1)}, True),
        ({"qty": D("0.3"), "rungs": (0,)}, False),
        ({"qty": D("0.4"), "rungs": (1,)}, False),
        ({"qty": D("0.4"), "rungs": (0,), "signal_id": "s2"}, False),
    ],
)
def test_the_same_decision_is_of_no_smaller_size(planned: dict[str, Any], same: bool) -> None:
    assert same_decision(action("TP_PARTIAL", **planned), waiting("TP_PARTIAL", qty=D("0.4"), rungs=(0,))) is same


def test_a_cut_in_risk_is_the_same_whatever_its_size() -> None:
    assert same_decision(action("RISK_DOWNGRADE", qty=D("0.1")), waiting("RISK_DOWNGRADE"))
    assert not same_decision(action("ADD"), waiting("RISK_DOWNGRADE"))


def test_as_if_it_had_never_been_begun() -> None:
    held, op = begin(stopped(39_000, used_signals=("s0",)), action("ADD", signal_id="s1"), NOW)
    order = Order(op.client_order_id, op.intent, "ADD", "BUY", "MARKET", D(1), "PENDING", NOW, 1, True)
    back = as_before(begin(held, action("CLEANUP"), NOW)[0], op)
    assert back.used_signals == ("s0",)
    working = stopped(39_000)
    assert as_before(position(orders=(*working.orders, order)), op).orders == working.orders
