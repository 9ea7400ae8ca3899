"""Drive one operation: what S4 is asked and sent, in which order, and what is written down."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from s6.engine.operation import begin
from s6.plan import Action
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle
from tests.unit.losses import lost


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def test_an_operation_in_flight_is_held(desk: Desk) -> None:
    held, op = begin(lost(), Action("EXIT", "OPERATOR", D(1), step=D("0.001")), NOW - 60_000)
    desk.put(held, op)
    outcome = desk.governor.evaluate("p1")
    assert (outcome.kind, outcome.unverified, desk.hints.driven) == ("IN_FLIGHT", True, [])
    assert desk.executor.advance("p1", op.op_id).kind == "DONE"
    assert (desk.s4.sent, desk.op(), desk.hints.evaluated) == ([], op, ["p1"])  # the hint verifies it
    desk.reconciler.verify("p1")
    desk.governor.evaluate("p1")
    assert desk.hints.driven == [op.op_id]
    desk.executor.advance("p1", op.op_id)
    assert desk.s4.sent == [op.client_order_id]
