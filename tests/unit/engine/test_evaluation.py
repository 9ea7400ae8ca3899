"""One evaluation: S4 is asked first where it must be, what is begun is handed over, what must wait is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal as D

import pytest

from s6 import keys
from s6.engine.evaluation import Evaluation
from s6.engine.operation import begin
from s6.model.market import Tick
from s6.model.position import Order
from s6.plan import Action
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, stopped
from tests.unit.losses import lost


class Bench:
    """An evaluation over a desk; ``begun`` are the operations it handed over, ``decisions`` how often it decided."""

    def __init__(self) -> None:
        self.desk = desk = Desk(bundle())
        desk.state.put_tick("BTCUSDT", Tick(NOW, D(40_000), D(40_000), D(40_000)))
        self.begun: list[str] = []
        self.decisions = 0
        self.evaluation = Evaluation(desk.governor, desk.executor, desk.reconciler, self._deciding)

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        self.decisions += 1
        yield

    def run(self) -> bool:
        return self.evaluation.run("p1", lambda name, op: self.begun.append(op.kind))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_begun_is_handed_over_and_not_hinted_at(bench: Bench) -> None:
    bench.desk.put(position())
    assert bench.run() is False
    assert (bench.begun, bench.decisions, bench.desk.hints.driven) == (["STOP_MOVE"], 1, [])


def test_s4_is_asked_first_where_it_may_know_more(bench: Bench) -> None:
    bench.desk.put(lost(sl_order="", orders=()))
    assert bench.run() is False
    assert (bench.begun, bench.decisions) == (["STOP_MOVE"], 2)
    assert bench.desk.now().unverified_from == 0


def test_orders_that_s4_is_silent_about_are_asked_for(bench: Bench) -> None:
    held = stopped(39_300, bundle_version="b-1")
    take = Order("TP-1", "i", "TP", "SELL", "MARKET", D("0.2"), "NEW", NOW - 2_001, 1, True)
    bench.desk.put(replace(held, orders=(*held.orders, take)))
    bench.run()
    assert bench.desk.s4.asked == ["SL-1", "TP-1"]


def test_what_another_is_at_must_be_evaluated_again(bench: Bench) -> None:
    bench.desk.put(position())
    bench.desk.state.lock(*keys.position_lock("p1"))
    assert bench.run() is True
    assert bench.begun == []


def test_an_exit_takes_the_place_of_what_waits(bench: Bench) -> None:
    held, op = begin(
        stopped(39_300, exit_reason="OPERATOR"), Action("TP_PARTIAL", "RUNG", D("0.2"), step=D("0.001")), NOW
    )
    bench.desk.put(held, replace(op, not_before=NOW + 60_000))
    assert bench.run() is False
    assert bench.begun == ["EXIT"]


def test_what_goes_on_by_itself_is_let_be(bench: Bench) -> None:
    held, op = begin(stopped(39_300), Action("STOP_MOVE", "TRAIL", D(1), target="SL-1"), NOW)
    bench.desk.put(held, op)
    assert bench.run() is False
    assert (bench.begun, bench.desk.hints.driven) == ([], [])
    bench.desk.clock.now += 751
    bench.run()
    assert bench.desk.hints.resumed == [op.op_id]
