"""One evaluation: S4 is asked first where it must be, what is begun is taken on at once, what must wait is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal as D
from functools import partial

import pytest

from s6 import keys
from s6.engine.evaluation import Evaluation
from s6.engine.operation import begin
from s6.model.market import Tick
from s6.model.position import Order
from s6.plan import Action
from s6.ports import StateUnavailable
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, stopped
from tests.unit.losses import lost


class Bench:
    """An evaluation over a desk: ``waiting`` are operations that it handed over, ``sections`` what it entered."""

    def __init__(self) -> None:
        self.desk = desk = Desk(bundle())
        desk.state.put_tick("BTCUSDT", Tick(NOW, D(40_000), D(40_000), D(40_000)))
        self.waiting: list[tuple[str, str]] = []
        self.sections: list[str] = []
        deciding, stepping = partial(self._section, "decision"), partial(self._section, "step")
        self.evaluation = Evaluation(desk.governor, desk.executor, desk.reconciler, deciding, stepping)

    @contextmanager
    def _section(self, name: str) -> Iterator[None]:
        self.sections.append(name)
        yield

    def run(self) -> bool:
        return self.evaluation.run("p1", lambda name, op, progress: self.waiting.append((op.kind, progress.stage)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_is_begun_is_done_under_the_same_lock_and_not_hinted_at(bench: Bench) -> None:
    desk = bench.desk
    desk.put(position())
    desk.s4.placing = lambda order: bench.sections.append(desk.redis.do_get(keys.position_lock("p1").key) or "free")
    assert bench.run() is False
    decision, step, token = bench.sections
    assert (decision, step, bench.waiting, desk.hints.driven) == ("decision", "step", [], [])
    assert token != "free" and desk.redis.do_get(keys.position_lock("p1").key) is None
    assert desk.s4.sent == [desk.now().sl_order] and desk.op() is None


def test_what_waits_for_its_cancel_is_handed_over(bench: Bench) -> None:
    bench.desk.put(stopped(39_000))
    assert bench.run() is False
    assert bench.waiting == [("STOP_MOVE", "AWAIT_CANCEL")]


def test_the_market_is_read_once(bench: Bench) -> None:
    reads: list[str] = []
    bench.desk.put(position())
    bench.desk.redis.hook = lambda name, key, writes: reads.append(key) if not writes else None
    bench.run()
    assert reads.count(keys.market("BTCUSDT")) == reads.count(keys.state("p1")) == 1
    assert bench.desk.s4.sent != []


def test_what_a_step_that_took_long_makes_due_is_decided_under_a_new_lock(bench: Bench) -> None:
    desk = bench.desk
    desk.put(position())
    tokens: list[str] = []

    def slow(order: Order) -> None:
        desk.clock.now += 501
        desk.redis.hook = lambda name, key, writes: tokens.append(name) if key.startswith("lock:") else None

    desk.s4.placing = slow
    bench.run()
    assert [name for name in tokens if name != "script _commit"] == ["script _release", "set", "script _release"]
    assert desk.now().sl_order == desk.s4.sent[0]


def test_what_redis_holds_up_is_handed_on_whole(bench: Bench) -> None:
    desk = bench.desk
    desk.put(position())

    def away(order: Order) -> None:
        raise StateUnavailable("away")

    desk.s4.placing = away
    assert bench.run() is False
    op = desk.op()
    assert op is not None and desk.hints.driven == [op.op_id]


def test_s4_is_asked_first_where_it_may_know_more(bench: Bench) -> None:
    bench.desk.put(lost(sl_order="", orders=()))
    assert bench.run() is False
    assert bench.sections == ["decision", "decision", "step"]
    assert bench.desk.now().unverified_from == 0 and bench.desk.s4.sent == [bench.desk.now().sl_order]


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
    assert bench.sections == ["decision"]


def test_an_exit_takes_the_place_of_what_waits(bench: Bench) -> None:
    held, op = begin(
        stopped(39_300, exit_reason="OPERATOR"), Action("TP_PARTIAL", "RUNG", D("0.2"), step=D("0.001")), NOW
    )
    bench.desk.put(held, replace(op, not_before=NOW + 60_000))
    assert bench.run() is False
    assert [order.kind for order in bench.desk.s4.orders] == ["EXIT"]


def test_what_goes_on_by_itself_is_let_be(bench: Bench) -> None:
    held, op = begin(stopped(39_300), Action("STOP_MOVE", "TRAIL", D(1), target="SL-1"), NOW)
    bench.desk.put(held, op)
    assert bench.run() is False
    assert (bench.waiting, bench.desk.hints.driven) == ([], [])
    bench.desk.clock.now += 751
    bench.run()
    assert bench.desk.hints.resumed == [op.op_id]
