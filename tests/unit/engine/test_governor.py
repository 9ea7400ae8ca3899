"""Evaluate one position: what is begun, what is only remembered, what has to wait."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from tests.support.desk import Desk
from tests.unit.given import bundle
from tests.unit.losses import lost


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def test_an_evaluation_says_so_and_does_nothing(desk: Desk) -> None:
    desk.put(replace(lost(), sl_order="", orders=()))
    outcome = desk.governor.evaluate("p1")
    assert (outcome.kind, outcome.unverified, outcome.unconfirmed) == ("NOTHING", True, ())
    assert (desk.hints.driven, desk.s4.sent) == ([], [])
    desk.governor.evaluate_soon("p1")
    assert desk.hints.evaluated == ["p1"]


def test_a_closed_one_stays_where_the_sweep_finds_it(desk: Desk) -> None:
    desk.put(lost(status="CLOSED", qty=D(0)))
    assert desk.governor.evaluate("p1").unverified
    assert desk.state.ids_of("BTCUSDT") == ["p1"]
