"""An operation at rest, and ids that follow from decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s6.model.operation import Operation, intent_id
from tests.unit.given import NOW

OP = Operation("1-1", "p1", "STOP_MOVE", "PLACE", "TRAIL", NOW, "sl-1", "SL-1")


@pytest.mark.parametrize(
    ("op", "due"),
    [
        (OP, NOW),
        (replace(OP, not_before=NOW + 500), NOW + 500),
        (replace(OP, stage="AWAIT_CANCEL", deadline=NOW + 2_000), NOW + 2_000),
        (replace(OP, stage="CHECK", deadline=NOW + 2_000), NOW),
        (replace(OP, stage="AWAIT_CANCEL", deadline=NOW + 2_000, not_before=NOW + 3_000), NOW + 3_000),
    ],
)
def test_it_is_at_rest_when_its_step_is_overdue(op: Operation, due: int) -> None:
    assert not op.at_rest(due + 749)
    assert op.at_rest(due + 750)


def test_the_same_decision_has_the_same_id_for_ever() -> None:
    assert intent_id("p1", "1", 2, "SL") == "sl-f9baceabddb7d0f417a30a76"  # S4 remembers it over releases
    assert len({intent_id(p, life, n, "SL") for p in ("p1", "p2") for life in ("1", "2", "1@9") for n in (1, 2)}) == 12
