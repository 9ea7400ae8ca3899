"""Evaluate one position: what is begun, what is only remembered, what has to wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from s6 import keys
from s6.engine.governor import Outcome
from s6.model import jsonx
from s6.model.market import Features, Tick
from s6.model.position import Order
from s6.model.types import Side, plain
from s6.model.wire import OrderResult
from s6.ports import StateUnavailable
from tests.doubles.memory_redis import no_hook
from tests.support.desk import Desk
from tests.unit.given import NOW, bundle, position, result, stopped
from tests.unit.losses import lost

ADDS: dict[str, Any] = {"fut": {"add_on": {"roe_gate": 0, "cap": 3, "gamma": 0.5, "eta": 0.8, "signal_ttl_s": 60}}}


@pytest.fixture
def desk() -> Desk:
    return Desk(bundle())


def market(desk: Desk, mark: int | str = 40_000, **features: Any) -> None:
    """A tick at that mark, and features; both of this moment."""
    price = D(mark)
    desk.state.put_tick("BTCUSDT", Tick(desk.clock.now, price, price, price))
    desk.state.put_features("BTCUSDT", Features(ts=desk.clock.now, regime="NORMAL", **features))


def events(desk: Desk) -> list[dict[str, str]]:
    """What is handed on from now on."""
    told: list[dict[str, str]] = []
    desk.redis.appended = lambda stream, fields: told.append(fields)
    return told


def causes(desk: Desk, name: str = "p1") -> list[object]:
    desk.relay.run()
    return [(doc["phase"], doc["cause"]) for doc in desk.store.history[name].values()]


# --- what is begun ------------------------------------------------------------------------------------------------


def test_the_first_stop_is_written_down_with_its_order_and_handed_on(desk: Desk) -> None:
    market(desk)
    desk.put(position())
    outcome = desk.governor.evaluate("p1", reason="birth")
    op = desk.op()
    assert op is not None and op.order is not None
    assert (outcome.kind, outcome.op) == ("STARTED", op)
    assert (op.kind, op.stage, op.order.status, op.order.stop_px) == ("STOP_MOVE", "PLACE", "PENDING", D(39_200))
    assert [o.client_order_id for o in desk.now().orders] == [op.client_order_id]
    assert desk.state.seen_order("p1", op.client_order_id) == op.order
    assert desk.hints.driven == [op.op_id] and desk.hints.resumed == []
    assert causes(desk)[-1] == ("BEFORE", "birth: STOP_MOVE FIRST")
    assert desk.s4.sent == []


def test_a_move_has_no_order_before_the_old_one_is_gone(desk: Desk) -> None:
    market(desk, 41_000, atr=D(100))
    desk.put(stopped(39_300))
    op = desk.governor.evaluate("p1").op
    assert op is not None and (op.stage, op.order, op.target) == ("CANCEL", None, "SL-1")


def test_an_exit_that_s4_refused_twice_is_fatal(desk: Desk) -> None:
    market(desk)
    desk.put(position(sl_price=D(39_000), sl_refusals=2))
    op = desk.governor.evaluate("p1").op
    assert op is not None and (op.kind, op.reason) == ("EXIT", "STOP_REFUSED")
    assert [(a[0], a[1], a[2]) for a in desk.alerts.raised] == [("FATAL", "STOP_MOVE_FAILED", "STOP_REFUSED")]


def test_what_is_less_than_a_step_is_not_sold(desk: Desk) -> None:
    market(desk)
    desk.put(stopped(39_300, qty=D("0.0004"), exit_reason="OPERATOR"))
    outcome = desk.governor.evaluate("p1")
    assert (outcome.kind, outcome.op, desk.op()) == ("NOTHING", None, None)


def test_a_crossing_is_used_up_and_timed(desk: Desk) -> None:
    market(desk, 41_000, atr=D(100))
    desk.put(stopped(39_300))
    desk.state.put_crossing("p1", D(41_000), NOW - 30)
    op = desk.governor.evaluate("p1").op
    assert op is not None and op.tick_ts == NOW - 30
    assert desk.state.market("BTCUSDT", "p1").extremes is None


def test_a_crossing_where_nothing_is_to_do_is_used_up_too(desk: Desk) -> None:
    market(desk)
    desk.put(stopped(39_300))
    desk.state.put_crossing("p1", D(40_000), NOW)
    assert desk.governor.evaluate("p1").kind == "NOTHING"
    assert desk.state.market("BTCUSDT", "p1").extremes is None


@pytest.mark.parametrize(
    ("side", "guard", "before", "since"), [("LONG", 40_800, 39_900, 40_700), ("SHORT", 39_200, 40_100, 39_300)]
)
def test_a_spike_through_a_guard_is_seen_behind_a_worse_one_from_before_it(
    desk: Desk, side: Side, guard: int, before: int, since: int
) -> None:
    market(desk, 41_000 if side == "LONG" else 39_000)
    held = position(side=side, self_guarded=True, sl_price=D(guard), sl_ts=NOW - 50, entry_ts=NOW - 1000)
    desk.put(held)
    desk.state.put_crossing("p1", D(before), NOW - 60)
    desk.state.put_crossing("p1", D(since), NOW - 10)
    op = desk.governor.evaluate("p1").op
    assert op is not None and (op.kind, op.reason) == ("EXIT", "GUARD")


def test_a_spike_through_a_guard_is_seen_although_the_clock_was_set_back(desk: Desk) -> None:
    market(desk, 41_000)
    desk.put(position(self_guarded=True, sl_price=D(40_800), sl_ts=NOW + 3_600_000, entry_ts=NOW + 3_600_000))
    desk.state.put_crossing("p1", D(41_100), NOW - 60)
    desk.state.put_crossing("p1", D(40_700), NOW - 10)
    op = desk.governor.evaluate("p1").op
    assert op is not None and (op.kind, op.reason) == ("EXIT", "GUARD")


# --- what S6 holds itself -----------------------------------------------------------------------------------------


def test_a_guard_is_moved_in_the_commit_and_told_of(desk: Desk) -> None:
    market(desk)
    told = events(desk)
    desk.put(position(market="SPOT", liq_price=D(0), isolated_margin_usdt=D(40_000)))
    outcome = desk.governor.evaluate("p1")
    now = desk.now()
    assert (now.sl_price, now.sl_qty, now.sl_ts, now.op_count, now.self_guarded) == (D(38_000), D(1), NOW, 1, False)
    assert outcome.kind == "NOTHING"
    assert outcome.plan is not None and [a.type for a in outcome.plan.actions] == ["STOP_MOVE"]
    [move] = told
    data = jsonx.loads(move["data"])
    assert (move["type"], move["reason"], move["event_id"]) == ("STOP_MOVE", "GUARD", "p1.1.STOP_MOVE.guard-1")
    assert (data["old"], data["new"], data["qty"]) == (None, D(38_000), D(1))
    assert causes(desk)[-2:] == [("BEFORE", "STOP_MOVE FIRST"), ("AFTER", "STOP_MOVE FIRST")]
    assert desk.hints.driven == []


def test_a_guard_keeps_its_level_and_knows_its_last_price(desk: Desk) -> None:
    market(desk, 46_000)
    desk.rules.bundle = bundle(spot={"guard": {"lock_steps": [{"roe": 0.1, "lock_roe": 0.05}]}})
    desk.put(position(market="SPOT", liq_price=D(0), isolated_margin_usdt=D(40_000), sl_price=D(38_000), sl_ts=NOW))
    desk.governor.evaluate("p1")
    assert (desk.now().sl_price, desk.now().sl_fallback, desk.now().sl_level) == (D(42_000), D(38_000), 1)


def test_a_futures_position_too_small_for_s4_is_guarded_by_s6(desk: Desk) -> None:
    market(desk)
    tiny = {"symbols": {"BTCUSDT": {"tick": "0.1", "step": "0.001", "min_qty": "2", "mmr": "0.004"}}}
    desk.rules.bundle = bundle(**tiny)
    desk.put(position())
    desk.governor.evaluate("p1")
    assert (desk.now().self_guarded, desk.now().sl_price, desk.op()) == (True, D(39_200), None)


def test_stagnation_is_written_and_told_once(desk: Desk) -> None:
    market(desk)
    told = events(desk)
    desk.rules.bundle = bundle(fut={"stagnation": {"after_s": 60, "abs_roe_below": 0.05}})
    desk.put(stopped(39_300, best_ts=NOW - 60_000, best_roe=D("0.01")))
    outcome = desk.governor.evaluate("p1")
    assert outcome.plan is not None and [a.type for a in outcome.plan.actions] == ["STAGNATED"]
    assert desk.now().stagnated
    desk.governor.evaluate("p1")
    [event] = told
    assert (event["type"], event["event_id"]) == ("STAGNATED", f"p1.1.STAGNATED.{NOW - 60_000}")
    assert jsonx.loads(event["data"]) == {"best_roe": D("0.01"), "best_ts": NOW - 60_000, "roe": D(0)}
    assert causes(desk)[-1] == ("AFTER", "STAGNATED NO_NEW_BEST")


# --- what is remembered -------------------------------------------------------------------------------------------


def test_watermarks_are_kept_without_a_snapshot(desk: Desk) -> None:
    market(desk, 40_010)
    before = desk.put(stopped(39_300))
    desk.governor.evaluate("p1")
    now = desk.now()
    assert (now.best_mark, now.bundle_version, now.seq, now.rev) == (D(40_010), "b-1", before.seq, before.rev + 1)
    again = desk.now()
    desk.governor.evaluate("p1")
    assert desk.now() == again  # nothing has moved: nothing is written


def test_the_ladder_in_force_is_shown(desk: Desk) -> None:
    market(desk)
    desk.rules.bundle = bundle(fut={"tp_ladder": [{"roe": "0.80", "fraction": "0.5"}]})
    desk.put(stopped(39_300))
    desk.governor.evaluate("p1")
    assert jsonx.loads(desk.now().ladder) == [{"roe": D("0.80"), "fraction": D("0.5")}]


def test_a_level_reached_without_a_move_is_shown_in_the_history(desk: Desk) -> None:
    market(desk, 42_000)
    desk.rules.bundle = bundle(fut={"stop": {"lock_steps": [{"roe": 0.5, "lock_roe": 0}]}})
    desk.put(stopped(41_500))
    desk.governor.evaluate("p1")
    assert desk.now().sl_level == 1
    assert causes(desk) == [("AFTER", "put"), ("AFTER", "put")]


def test_a_breach_is_remembered_and_looked_at_when_its_grace_ends(desk: Desk) -> None:
    market(desk, 39_200)
    desk.put(stopped(39_300))
    outcome = desk.governor.evaluate("p1")
    assert (outcome.kind, outcome.recheck_ms, desk.now().breach_ts) == ("NOTHING", 2_000, NOW)
    assert (desk.hints.evaluated, desk.hints.delays) == (["p1"], [2_000])


def test_who_is_closed_and_at_rest_leaves_the_open_ones(desk: Desk) -> None:
    market(desk)
    for name, held in (("p1", position()), ("p2", stopped(39_300)), ("p3", position())):
        desk.put(
            replace(
                held, position_id=name, status="CLOSED" if name != "p3" else "OPEN", qty=D(1 if name == "p3" else 0)
            )
        )
        desk.governor.evaluate(name)
    assert sorted(desk.state.ids_of("BTCUSDT")) == ["p2", "p3"]  # p2 still has its stop to be cancelled


def test_a_regime_that_the_bundle_does_not_know_is_told_of(desk: Desk) -> None:
    desk.state.put_features("BTCUSDT", Features(ts=NOW, regime="WILD"))
    desk.put(stopped(39_300))
    desk.governor.evaluate("p1")
    assert [(a[0], a[1]) for a in desk.alerts.raised] == [("WARN", "REGIME_UNKNOWN")]


# --- adds ---------------------------------------------------------------------------------------------------------


def adding(desk: Desk, *names: str, limits: dict[str, Any] | None = None) -> None:
    """Positions that would each add 0.5 at 40000 with 10x leverage: a margin of 2000."""
    desk.rules.bundle = bundle(**ADDS, limits=limits or {})
    market(desk, signal="LONG", signal_id="s1", signal_ts=NOW)
    for name in names:
        desk.put(stopped(39_300, position_id=name))


def begins(desk: Desk, name: str) -> bool:
    op = desk.governor.evaluate(name).op
    assert op is None or op.kind == "ADD"
    return op is not None


def test_an_add_uses_its_signal_and_reserves_its_place(desk: Desk) -> None:
    adding(desk, "p1")
    assert begins(desk, "p1")
    assert desk.now().used_signals == ("s1",)
    assert list(desk.state.adds_reserved()) == ["p1"]


def test_no_add_is_begun_on_a_word_that_no_longer_holds(desk: Desk) -> None:
    adding(desk, "p1")
    desk.rules.at_this_moment = "RISK_REDUCTION_ONLY"
    assert not begins(desk, "p1")
    assert list(desk.state.adds_reserved()) == []


@pytest.mark.parametrize(("limit", "second"), [(1, False), (2, True), (None, True)])
def test_no_more_adds_are_at_work_than_the_bundle_allows(desk: Desk, limit: int | None, second: bool) -> None:
    adding(desk, "p1", "p2", limits={"adds_in_flight": limit})
    assert begins(desk, "p1")
    assert begins(desk, "p2") is second


@pytest.mark.parametrize(("budget", "used", "both"), [(4_000, 0, True), (3_999, 0, False), (5_000, 1_001, False)])
def test_adds_at_work_count_against_the_budget(desk: Desk, budget: int, used: int, both: bool) -> None:
    adding(desk, "p1", "p2", limits={"fut_budget": budget, "spot_budget": 0})
    desk.redis.do_set(keys.budget("FUT"), plain(D(used)))
    assert begins(desk, "p1")
    assert begins(desk, "p2") is both


def the_add(desk: Desk, name: str, status: str, filled: str = "0") -> OrderResult:
    [order] = [o for o in desk.state.own_orders(name) if o.kind == "ADD"]
    price = "40000" if filled != "0" else None
    return result(position_id=name, client_order_id=order.client_order_id, kind="ADD", qty="0.5", status=status,
                  filled_qty=filled, avg_price=price, leverage=None)  # fmt: skip


def sent(desk: Desk) -> None:
    op = desk.op("p1")
    assert op is not None
    desk.executor.advance("p1", op.op_id)


def partly(desk: Desk) -> None:
    sent(desk)
    desk.results.apply(the_add(desk, "p1", "PARTIALLY_FILLED", "0.2"), {})


def filled(desk: Desk) -> None:
    sent(desk)
    desk.results.apply(the_add(desk, "p1", "FILLED", "0.5"), {})


def canceled(desk: Desk) -> None:
    sent(desk)
    desk.results.apply(the_add(desk, "p1", "CANCELED"), {})


@pytest.mark.parametrize(("so_far", "free"), [(sent, False), (partly, False), (filled, True), (canceled, True)])
def test_the_place_of_an_add_is_free_when_the_add_has_ended(
    desk: Desk, so_far: Callable[[Desk], None], free: bool
) -> None:
    """Not when it is written down or accepted: until it ends it may still take all it asked for."""
    adding(desk, "p1", "p2", limits={"adds_in_flight": 1})
    assert begins(desk, "p1")
    assert not begins(desk, "p2")
    so_far(desk)
    assert begins(desk, "p2") is free


# --- what has to wait ---------------------------------------------------------------------------------------------


def test_an_operation_in_flight_is_left_to_go_on(desk: Desk) -> None:
    market(desk)
    desk.put(position())
    started = desk.governor.decide("p1")
    assert started.op is not None
    desk.clock.now += 700
    assert desk.governor.evaluate("p1") == Outcome("IN_FLIGHT", op=started.op)
    assert desk.hints.driven == []
    desk.clock.now += 51  # nobody has taken its step for more than 750 ms
    desk.governor.evaluate("p1")
    assert desk.hints.resumed == [started.op.op_id]


def test_one_at_a_time(desk: Desk) -> None:
    desk.put(position())
    desk.state.lock(*keys.position_lock("p1"))
    assert desk.governor.evaluate("p1") == Outcome("BUSY")
    desk.governor.evaluate_soon("p1")
    assert (desk.hints.evaluated, desk.hints.delays) == (["p1"], [40])


def test_the_lock_is_given_back(desk: Desk) -> None:
    desk.put(position())
    desk.governor.evaluate("p1")
    assert desk.state.lock(*keys.position_lock("p1")) is not None


def test_who_loses_the_lock_writes_nothing(desk: Desk) -> None:
    desk.put(position())

    def slow(name: str, key: str, writes: bool) -> None:
        if key == keys.market("BTCUSDT"):
            desk.redis.hook = no_hook
            desk.clock.now += 4_001
            desk.state.lock(*keys.position_lock("p1"))

    desk.redis.hook = slow
    assert desk.governor.evaluate("p1") == Outcome("BUSY")
    assert desk.op() is None
    assert [(a[1], a[3]) for a in desk.alerts.raised] == [("LOCK_OVERRUN", "p1")]


def test_who_writes_meanwhile_is_heeded(desk: Desk) -> None:
    market(desk)
    desk.put(position())

    def interrupts(name: str, key: str, writes: bool) -> None:
        if key == keys.market("BTCUSDT"):
            desk.redis.hook = no_hook
            desk.results.apply(result(client_order_id="e9", qty="0.5", filled_qty="0.5"), {}, hint=False)

    desk.redis.hook = interrupts
    op = desk.governor.evaluate("p1").op
    assert op is not None and op.order is not None and op.order.qty == D("1.5")


def test_without_a_bundle_or_a_position_nothing_is_done(desk: Desk) -> None:
    assert desk.governor.evaluate("p9") == Outcome("UNKNOWN")
    desk.put(position())
    desk.put(lost(position_id="p2"))
    desk.rules.bundle = None
    assert desk.governor.evaluate("p1") == Outcome("NO_BUNDLE")
    assert desk.governor.evaluate("p2") == Outcome("NO_BUNDLE", unverified=True)
    assert desk.hints.evaluated == []


def test_orders_that_s4_keeps_silent_about_are_named(desk: Desk) -> None:
    take = Order("TP-1", "i", "TP", "SELL", "MARKET", D("0.2"), "NEW", NOW, 1, True)
    market(desk)
    held = stopped(39_300)
    desk.put(replace(held, orders=(*held.orders, take)))
    desk.clock.now += 2_000
    assert desk.governor.evaluate("p1").unconfirmed == ()
    desk.clock.now += 1
    assert desk.governor.evaluate("p1").unconfirmed == ("TP-1",)
    desk.governor.evaluate_soon("p1")
    assert (desk.hints.evaluated, desk.hints.delays) == (["p1"], [40])


def test_redis_away_is_a_hint_for_later(desk: Desk) -> None:
    def away(name: str, key: str, writes: bool) -> None:
        raise StateUnavailable("away")

    desk.put(position())
    desk.redis.hook = away
    desk.governor.evaluate_soon("p1")
    assert desk.hints.delays == [40]


def test_while_s4_may_know_more_it_says_so_and_does_nothing(desk: Desk) -> None:
    desk.put(replace(lost(), sl_order="", orders=()))
    outcome = desk.governor.evaluate("p1")
    assert (outcome.kind, outcome.unverified, outcome.unconfirmed) == ("NOTHING", True, ())
    assert (desk.hints.driven, desk.s4.sent) == ([], [])
    desk.governor.evaluate_soon("p1")
    assert desk.hints.evaluated == ["p1"]


def test_a_closed_one_stays_where_the_sweep_finds_it_until_s4_was_asked(desk: Desk) -> None:
    desk.put(lost(status="CLOSED", qty=D(0)))
    assert desk.governor.evaluate("p1").unverified
    assert desk.state.ids_of("BTCUSDT") == ["p1"]
