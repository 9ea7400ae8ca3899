"""What holds for any input, over any path."""

from decimal import Decimal
from fractions import Fraction as F
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from s6 import rules

from .given import (
    Rung,
    above_zero,
    add_arguments,
    examples,
    ladders,
    lot_arguments,
    margins,
    parts,
    prices,
    quantities,
    ratios,
    scaled,
    sides,
    stop_arguments,
    units,
)

ZERO = Decimal(0)


def opposite(side: str) -> str:
    return "SHORT" if side == "LONG" else "LONG"


moments = st.fixed_dictionaries(
    {
        "mark": prices,
        "atr": st.none() | scaled(0, 5_000),
        "anchor": st.none() | prices,
        "entry": prices,
        "qty": quantities,
        "margin": margins,
    }
)


@examples
@given(start=stop_arguments, path=st.lists(moments, min_size=1, max_size=12))
def test_a_stop_never_loosens_over_any_path(start: dict[str, Any], path: list[dict[str, Any]]) -> None:
    """Not even when entry, quantity, margin, volatility and anchor change on the way."""
    sign = 1 if start["side"] == "LONG" else -1
    stop, level = start["sl_prev"], start["level"]
    for moment in path:
        decision = rules.next_stop_price(**{**start, **moment, "sl_prev": stop, "level": level})
        if stop is not None:
            assert decision.price is not None
            assert (decision.price - stop) * sign >= 0
        assert decision.level >= level
        stop, level = decision.price, decision.level


@examples
@given(stop_arguments)
def test_a_new_stop_is_on_the_tick_and_on_the_protective_side(arguments: dict[str, Any]) -> None:
    decision = rules.next_stop_price(**arguments)
    if decision.price is None:
        assert decision.passed
        assert arguments["sl_prev"] is None
    elif decision.price != arguments["sl_prev"]:
        assert F(decision.price) % F(arguments["tick"]) == 0
        assert decision.price >= arguments["tick"]
        sign = 1 if arguments["side"] == "LONG" else -1
        assert (arguments["mark"] - decision.price) * sign > 0


@examples
@given(stop_arguments)
def test_deciding_again_changes_nothing(arguments: dict[str, Any]) -> None:
    first = rules.next_stop_price(**arguments)
    again = rules.next_stop_price(**{**arguments, "sl_prev": first.price, "level": first.level})
    assert again == first


@examples
@given(
    roes=st.lists(ratios, min_size=1, max_size=6),
    ladder=ladders,
    qty=quantities,
    lot=st.fixed_dictionaries(lot_arguments),
)
def test_closes_never_exceed_what_is_held_nor_leave_what_cannot_be_closed(
    roes: list[Decimal], ladder: Any, qty: Decimal, lot: dict[str, Any]
) -> None:
    least = rules.smallest_valid_qty(**lot)
    left, done = qty, set[int]()
    for roe in roes:
        if left < lot["step"]:
            break
        decision = rules.tp_ladder_decision(roe=roe, ladder=ladder, done=done, qty=left, **lot)
        assert 0 <= decision.qty <= left
        assert F(decision.qty) % F(lot["step"]) == 0
        assert bool(decision.qty) == bool(decision.rungs)
        assert done.isdisjoint(decision.rungs)
        left -= decision.qty
        done.update(decision.rungs)
        if decision.qty:
            assert left < lot["step"] or left >= least
            assert decision.qty >= least or left < lot["step"]


@examples
@given(qty=quantities, fraction=parts, lot=st.fixed_dictionaries(lot_arguments))
def test_a_reduction_is_one_rung(qty: Decimal, fraction: Decimal, lot: dict[str, Any]) -> None:
    ladder = [Rung(ZERO, fraction)]
    one_rung = rules.tp_ladder_decision(roe=ZERO, ladder=ladder, done=(), qty=qty, **lot)
    assert rules.reduce_decision(qty=qty, fraction=fraction, **lot) == one_rung.qty


@examples
@given(start=add_arguments, fills=st.lists(st.tuples(ratios, parts), min_size=1, max_size=8))
def test_adds_never_pass_the_cap_nor_their_share_of_the_first_quantity(
    start: dict[str, Any], fills: list[tuple[Decimal, Decimal]]
) -> None:
    """Whether an add fills whole or in part."""
    count, added = 0, ZERO
    for roe, filled in fills:
        state = {"roe": roe, "add_on_count": count, "added_qty": added, "signal": start["side"]}
        decision = rules.add_on_decision(**{**start, **state})
        assert (decision.reason is None) == (decision.qty > 0)
        if not decision.qty:
            continue
        assert decision.qty >= start["min_qty"]
        assert decision.qty * start["mark"] >= start["min_notional"]
        count, added = count + 1, added + decision.qty * filled
        assert count <= start["cap"]
        assert added <= start["eta"] * start["q0"]


@examples
@given(add_arguments)
def test_adds_treat_both_sides_alike(arguments: dict[str, Any]) -> None:
    signal = arguments["signal"]
    mirrored = {
        **arguments,
        "side": opposite(arguments["side"]),
        "signal": opposite(signal) if signal in ("LONG", "SHORT") else signal,
    }
    assert rules.add_on_decision(**arguments) == rules.add_on_decision(**mirrored)


@examples
@given(mark=prices, entry=prices, qty=quantities, side=sides)
def test_profit_mirrors(mark: Decimal, entry: Decimal, qty: Decimal, side: str) -> None:
    here = rules.pnl(mark=mark, entry=entry, qty=qty, side=side)
    assert here == -rules.pnl(mark=mark, entry=entry, qty=qty, side=opposite(side))
    reflected = 2 * entry - mark
    assume(reflected > 0)
    assert here == rules.pnl(mark=reflected, entry=entry, qty=qty, side=opposite(side))


near = scaled(-9_000, 9_000, places=3)


@examples
@given(
    data=st.fixed_dictionaries(
        {
            "qty": st.integers(10, 50).map(Decimal),
            "margin": above_zero(10_000),
            "atr": st.none() | scaled(0, 2_000),
            "k": scaled(0, 4),
            "level": st.integers(0, 4),
            "fallback_pct": scaled(0, 1, places=3).map(lambda x: x / 2),
            "lock_steps": stop_arguments.map(lambda a: a["lock_steps"]),
        }
    ),
    tick=units,
    entry_ticks=st.integers(1, 100),
    mark=near,
    sl_prev=st.none() | near,
    liq=st.none() | near,
)
def test_stops_mirror_about_the_entry(
    data: dict[str, Any],
    tick: Decimal,
    entry_ticks: int,
    mark: Decimal,
    sl_prev: Decimal | None,
    liq: Decimal | None,
) -> None:
    """With the entry on the tick, so far from 0 that neither side meets it."""
    entry = tick * (int(20_000 / tick) + entry_ticks)

    def decide(side: str, sign: int) -> rules.StopDecision:
        return rules.next_stop_price(
            side=side,
            entry=entry,
            mark=entry + sign * mark,
            sl_prev=None if sl_prev is None else entry + sign * sl_prev,
            liq_price=None if liq is None else entry + sign * liq,
            tick=tick,
            **data,
        )

    long, short = decide("LONG", 1), decide("SHORT", -1)
    assert (long.level, long.passed) == (short.level, short.passed)
    if long.price is None or short.price is None:
        assert long.price is short.price
    else:
        assert long.price - entry == entry - short.price


@examples
@given(
    buys=st.lists(st.tuples(quantities, prices), min_size=1, max_size=6),
    sold=parts,
    mark=prices,
)
def test_profit_of_a_holding_is_what_came_in_less_what_went_out(
    buys: list[tuple[Decimal, Decimal]], sold: Decimal, mark: Decimal
) -> None:
    held = rules.Holding(ZERO, ZERO)
    for qty, price in buys:
        held = rules.wac_buy(qty=held.qty, wac=held.wac, buy_qty=qty, buy_price=price)
        assert min(p for _, p in buys) <= held.wac <= max(p for _, p in buys)
    cost = sum(F(q) * F(p) for q, p in buys)
    sale = rules.wac_sell(qty=held.qty, wac=held.wac, sell_qty=held.qty * sold, sell_price=mark)
    rest = rules.unrealized(mark=mark, wac=sale.wac, qty=sale.qty)
    assert sale.qty + held.qty * sold == held.qty
    assert abs(F(sale.realized) + F(rest) - (F(mark) * F(held.qty) - cost)) <= F(1, 10**30)


@examples
@given(
    side=sides,
    entry=prices,
    qty=quantities,
    margin=margins,
    roe=ratios,
    mark=prices,
)
def test_the_mark_at_a_return_is_where_the_return_is_reached(
    side: str, entry: Decimal, qty: Decimal, margin: Decimal, roe: Decimal, mark: Decimal
) -> None:
    trigger = rules.mark_at_roe(side=side, entry=entry, qty=qty, margin=margin, roe=roe)
    reached = rules.roe(rules.pnl(mark, entry, qty, side), margin) >= roe
    assert reached == (mark >= trigger if side == "LONG" else mark <= trigger)


@examples
@given(side=sides, liq_price=prices, buffer=scaled(0, 1, places=4).filter(lambda x: x < 1), mark=prices)
def test_the_mark_at_a_buffer_is_where_less_is_left(
    side: str, liq_price: Decimal, buffer: Decimal, mark: Decimal
) -> None:
    trigger = rules.mark_at_buffer(side=side, liq_price=liq_price, buffer=buffer)
    assert trigger is not None
    less = rules.liquidation_buffer(mark, liq_price, side) < buffer
    if buffer:
        assert less == (mark < trigger if side == "LONG" else mark > trigger)
    else:
        assert not less


@examples
@given(x=scaled(-1_000, 1_000), unit=units)
def test_rounding_brackets(x: Decimal, unit: Decimal) -> None:
    low, high = rules.round_down(x, unit), rules.round_up(x, unit)
    assert low <= x <= high
    assert F(low) % F(unit) == F(high) % F(unit) == 0
    assert high - low == (0 if low == x else unit)


@examples
@given(
    free_fut=scaled(-1_000, 1_000),
    free_spot=scaled(0, 1_000),
    min_free=scaled(0, 1_000),
    buffer=scaled(0, 500),
    most=scaled(0, 800),
)
def test_a_transfer_never_takes_more_than_is_needed_allowed_or_there(
    free_fut: Decimal, free_spot: Decimal, min_free: Decimal, buffer: Decimal, most: Decimal
) -> None:
    found = rules.transfer_need(
        free_fut=free_fut, free_spot=free_spot, min_free_fut=min_free, spot_buffer=buffer, max_transfer=most
    )
    assert found.need == max(ZERO, min_free - free_fut)
    assert 0 <= found.amount <= min(found.need, most)
    if found.feasible and found.amount:
        assert free_spot - found.amount >= buffer
