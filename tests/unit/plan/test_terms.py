"""The terms that govern a position, whatever the bundle says today."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

from s6.booking import SymbolTerms, book, write_off
from s6.plan import build_plan
from s6.plan.terms import in_force, terms_of
from s6.plan.triggers import triggers
from tests.unit.given import NOW, bundle, position, result, stopped, view

RULES = {"stop": {"lock_steps": [{"roe": 0.5, "lock_roe": 0.2}]}, "tp_ladder": [{"roe": 0.8, "fraction": 0.33}]}
OTHER = bundle(symbols={"ETHUSDT": {}})


def test_the_last_terms_go_on_for_stops_and_exits_but_take_no_profit() -> None:
    governed = in_force(stopped(39200), bundle(fut=RULES))
    plan = build_plan(governed, view(43600), OTHER, "NORMAL", NOW)
    assert [(a.type, a.reason, a.new) for a in plan.actions] == [("STOP_MOVE", "LOCK", D(40800))]
    assert [(n.severity, n.code) for n in plan.notes] == [("ERROR", "SYMBOL_UNKNOWN")]
    leaving = replace(governed, exit_reason="OPERATOR")
    assert [(a.type, a.qty) for a in build_plan(leaving, view(43600), OTHER, "NORMAL", NOW).actions] == [("EXIT", D(1))]
    assert triggers(governed, OTHER, view(43600).features) == triggers(governed, bundle(fut=RULES), view(1).features)


def test_terms_survive_being_written_down_and_leave_the_other_market_out() -> None:
    rules = bundle(fut=RULES)
    terms = terms_of(in_force(stopped(39200), rules), OTHER)
    assert terms is not None and not terms.current
    assert (terms.spec.tick, terms.spec.fut) == (D("0.1"), rules.symbols["BTCUSDT"].fut)


def test_a_symbol_that_was_never_named_is_closed_whole_by_hand_and_nothing_else() -> None:
    held = position(qty=D("0.1234567"))
    plan = build_plan(held, view(30000), OTHER, "NORMAL", NOW)
    assert (plan.actions, [n.code for n in plan.notes]) == ((), ["SYMBOL_UNKNOWN"])
    (leave,) = build_plan(replace(held, exit_reason="OPERATOR"), view(30000), OTHER, "NORMAL", NOW).actions
    assert (leave.type, leave.qty, leave.step) == ("EXIT", D("0.1234567"), D(0))


def test_less_than_a_step_is_untradable_and_said() -> None:
    coarse = bundle(symbols={"BTCUSDT": {"tick": "0.1", "step": "1", "min_qty": "1"}})
    plan = build_plan(position(qty=D("0.5"), exit_reason="OPERATOR"), view(40000), coarse, "NORMAL", NOW)
    assert (plan.actions, [(n.severity, n.code, n.position_id) for n in plan.notes]) == (
        (),
        [("ERROR", "UNTRADABLE", "p1")],
    )


def test_a_new_ladder_takes_no_profit_twice() -> None:
    first, half = {"roe": 0.8, "fraction": 0.33}, {"roe": 1.5, "fraction": 0.5}
    rules = bundle(fut={"tp_ladder": [first, half]})
    held = in_force(stopped(43000), rules)
    (taking,) = [a for a in build_plan(held, view(43300), rules, "NORMAL", NOW).actions if a.type == "TP_PARTIAL"]
    assert (taking.rungs, taking.rung_roe) == ((0,), D("0.8"))
    sold = book(held, None, result(kind="TP", side="SELL", client_order_id="t", qty="0.33", filled_qty="0.33",
                avg_price="43300"), mark=None, terms=SymbolTerms(D("0.001")), now=NOW)  # fmt: skip
    assert sold is not None
    taken = replace(sold.position, tp_done=(0,), tp_roe=D("0.8"), sl_order="", orders=())
    wider = bundle(fut={"tp_ladder": [{"roe": 0.3, "fraction": 0.1}, first, half]})
    assert [a for a in build_plan(taken, view(43300), wider, "NORMAL", NOW).actions if a.type == "TP_PARTIAL"] == []
    assert in_force(in_force(taken, bundle(fut={})), wider).tp_done == (0, 1)
    older = replace(taken, tp_roe=None)  # written before the highest ROE was kept
    assert in_force(older, wider).tp_done == (0, 1)


def adds(p: object, mark: int, **features: object) -> list[str]:
    rules = bundle(fut={"add_on": {"roe_gate": "0.3", "cap": 3, "gamma": "0.5", "eta": "0.8"}})
    market = view(mark, signal="LONG", signal_id="s1", **features)  # type: ignore[arg-type]
    return [a.type for a in build_plan(p, market, rules, "NORMAL", NOW).actions if a.type == "ADD"]  # type: ignore[arg-type]


def test_a_signal_from_before_the_first_fill_adds_nothing() -> None:
    held = stopped(39200)
    assert adds(held, 41300) == ["ADD"]
    assert adds(replace(held, opened_ts=NOW), 41300) == []


def test_no_add_that_brings_liquidation_near() -> None:
    thin = stopped(
        39900, leverage=D(50), isolated_margin_usdt=D(800), liq_price=D("39357.43"), reduces=1, reduce_ts=NOW
    )
    assert adds(thin, 40240) == []  # the buffer is below lb_min already
    wide = replace(thin, liq_price=D(38000))
    assert adds(wide, 40240) == []  # and would be after the add
    assert adds(replace(wide, leverage=D(5), isolated_margin_usdt=D(8000), q0=D(1)), 42500) == ["ADD"]


def test_a_stop_that_is_filling_is_left_while_its_rest_is_what_is_held() -> None:
    held = stopped(39200)
    filling = replace(held.orders[0], filled=D("0.4"), avg_price=D(39200), status="PARTIALLY_FILLED")
    p = replace(held, qty=D("0.6"), isolated_margin_usdt=D(2400), orders=(filling,))
    assert build_plan(p, view(39250), bundle(), "NORMAL", NOW).actions == ()
    closed_by_hand = replace(p, qty=D("0.5"), isolated_margin_usdt=D(2000))
    assert [a.reason for a in build_plan(closed_by_hand, view(39250), bundle(), "NORMAL", NOW).actions] == ["RESIZE"]


def test_a_position_is_written_off_at_the_mark() -> None:
    b = write_off(stopped(39200), D(41000), NOW)
    assert (b.position.status, b.position.realized_pnl_usdt, b.closed) == ("CLOSED", D(1000), True)
    (event,) = b.events
    assert (event["type"], event["reason"], event["qty"], event["price"]) == ("EXIT", "WRITTEN_OFF", "1", "41000")
    assert [o.client_order_id for o in b.position.orders] == ["SL-1"]  # what may rest is left to the clean-up
