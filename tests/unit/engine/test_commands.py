"""What operators ask of one position, and what they are shown."""

from __future__ import annotations

import pytest

from tests.support.desk import Desk
from tests.unit.given import bundle
from tests.unit.losses import lost


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def test_operators_see_an_empty_plan_and_an_exit_is_remembered(desk: Desk) -> None:
    desk.put(lost())
    for word, hints in (("PLAN", 0), ("EVAL", 1), ("EXIT", 2)):
        shown = desk.commands.execute("p1", "BTCUSDT", "FUT", word, "ann", "test")
        assert shown.as_dict()["plan"]["actions"] == []  # type: ignore[index]
        assert desk.hints.evaluated == ["p1"] * hints
    assert desk.now().exit_reason == "OPERATOR"
    desk.reconciler.verify("p1")
    outcome = desk.governor.evaluate("p1")
    assert outcome.op is not None and outcome.op.kind == "EXIT"
