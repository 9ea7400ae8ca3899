"""How an operation ended is counted where people look at a rate."""

from __future__ import annotations

from typing import Any

import pytest

from s6.engine.operation import begin
from s6.engine.step import ended
from s6.model.commit import Sample
from s6.plan import Action
from tests.unit.given import NOW, position


@pytest.mark.parametrize(
    ("kind", "name"),
    [("STOP_MOVE", "s6_stop_move_total"), ("TP_PARTIAL", "s6_tp_partial_total"), ("EXIT", None), ("ADD", None)],
)
def test_moves_and_profits_are_counted_by_their_outcome(kind: Any, name: str | None) -> None:
    op = begin(position(), Action(kind, "WHY"), NOW)[1]
    assert ended(op, "kept") == ((Sample("inc", name, 1, {"outcome": "kept"}),) if name else ())
