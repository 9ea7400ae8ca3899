"""Every argument of every rule, given what it must not be."""

from collections.abc import Callable, Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from s6 import rules

from .given import Lock, Rung, locks, rungs

NOT_NUMBERS: list[Any] = [
    D("NaN"),
    D("sNaN"),
    D("Infinity"),
    D("-Infinity"),
    1.5,
    float("nan"),
    "1",
    True,
    D("1E+7000"),
]
NEGATIVE = [D("-0.001")]
ANYTHING = [*NOT_NUMBERS, None]
POSITIVE = [*ANYTHING, D(0), *NEGATIVE]
FROM_ZERO = ANYTHING + NEGATIVE
MAYBE_POSITIVE = [*NOT_NUMBERS, D(0), *NEGATIVE]
MAYBE_FROM_ZERO = NOT_NUMBERS + NEGATIVE
PART = [*POSITIVE, D("1.0001")]
BELOW_ONE = [*FROM_ZERO, D(1)]
COUNT = [*FROM_ZERO, D("0.5"), -1]
SIDE = ["BUY", "long", "", None, 1]

LOT = {"step": D("0.001"), "min_qty": D("0.001"), "min_notional": D(5), "mark": D(40000)}
BAD_LOT = {"step": POSITIVE, "min_qty": FROM_ZERO, "min_notional": FROM_ZERO, "mark": POSITIVE}
POSITION = {"entry": D(40000), "qty": D("0.5"), "margin": D(2000)}
BAD_POSITION = {"entry": POSITIVE, "qty": POSITIVE, "margin": POSITIVE}

RULES: list[tuple[Callable[..., object], dict[str, Any], dict[str, list[Any]]]] = [
    (
        rules.pnl,
        {"mark": D(1), "entry": D(1), "qty": D(1), "side": "LONG"},
        {"mark": POSITIVE, "entry": POSITIVE, "qty": POSITIVE, "side": SIDE},
    ),
    (rules.roe, {"pnl": D(1), "margin": D(1)}, {"pnl": ANYTHING, "margin": POSITIVE}),
    (
        rules.liquidation_buffer,
        {"mark": D(2), "liq_price": D(1), "side": "LONG"},
        {"mark": POSITIVE, "liq_price": MAYBE_FROM_ZERO, "side": [s for s in SIDE if s is not None]},
    ),
    (
        rules.liquidation_price,
        {**POSITION, "mmr": D("0.004"), "side": "LONG"},
        {**BAD_POSITION, "mmr": BELOW_ONE, "side": SIDE},
    ),
    (
        rules.next_stop_price,
        {
            **POSITION,
            "side": "LONG",
            "mark": D(42000),
            "atr": D(300),
            "k": D(2),
            "sl_prev": D(39000),
            "level": 0,
            "lock_steps": locks(("0.5", "0.2")),
            "tick": D("0.1"),
            "fallback_pct": D("0.02"),
            "anchor": D(41000),
            "liq_price": D(36000),
            "liq_clearance": D("0.005"),
        },
        {
            **BAD_POSITION,
            "side": SIDE,
            "mark": POSITIVE,
            "atr": MAYBE_FROM_ZERO,
            "k": FROM_ZERO,
            "sl_prev": MAYBE_POSITIVE,
            "level": COUNT,
            "lock_steps": [
                None,
                "steps",
                [object()],
                [{"roe": D(1), "lock_roe": D(0)}],
                *([Lock(bad, D(0))] for bad in ANYTHING),
                *([Lock(D(0), bad)] for bad in ANYTHING),
            ],
            "tick": POSITIVE,
            "fallback_pct": FROM_ZERO,
            "anchor": MAYBE_POSITIVE,
            "liq_price": MAYBE_FROM_ZERO,
            "liq_clearance": FROM_ZERO,
        },
    ),
    (
        rules.tp_ladder_decision,
        {"roe": D(1), "ladder": rungs(("0.8", "0.33")), "done": (), "qty": D(1), **LOT},
        {
            "roe": ANYTHING,
            "ladder": [
                None,
                "rungs",
                [object()],
                *([Rung(bad, D(1))] for bad in ANYTHING),
                *([Rung(D(0), bad)] for bad in PART),
            ],
            "done": [None, "0", [-1], [0.0], ["0"], 0],
            "qty": POSITIVE,
            **BAD_LOT,
        },
    ),
    (
        rules.add_on_decision,
        {
            "roe": D(1),
            "add_on_count": 0,
            "added_qty": D(0),
            "q0": D(1),
            "signal": "LONG",
            "side": "LONG",
            "gate": D("0.3"),
            "cap": 3,
            "gamma": D("0.5"),
            "eta": D("0.8"),
            **LOT,
        },
        {
            "roe": ANYTHING,
            "add_on_count": COUNT,
            "added_qty": FROM_ZERO,
            "q0": POSITIVE,
            "signal": ["BUY", "", 1],
            "side": SIDE,
            "gate": ANYTHING,
            "cap": COUNT,
            "gamma": FROM_ZERO,
            "eta": FROM_ZERO,
            **BAD_LOT,
        },
    ),
    (
        rules.wac_buy,
        {"qty": D(1), "wac": D(1), "buy_qty": D(1), "buy_price": D(1)},
        {"qty": FROM_ZERO, "wac": POSITIVE, "buy_qty": POSITIVE, "buy_price": POSITIVE},
    ),
    (rules.wac_buy, {"qty": D(0), "wac": D(0), "buy_qty": D(1), "buy_price": D(1)}, {"wac": FROM_ZERO}),
    (
        rules.wac_sell,
        {"qty": D(1), "wac": D(1), "sell_qty": D(1), "sell_price": D(1)},
        {"qty": POSITIVE, "wac": POSITIVE, "sell_qty": [*POSITIVE, D("1.1")], "sell_price": POSITIVE},
    ),
    (
        rules.unrealized,
        {"mark": D(1), "wac": D(1), "qty": D(1)},
        {"mark": POSITIVE, "wac": POSITIVE, "qty": FROM_ZERO},
    ),
    (
        rules.transfer_need,
        {"free_fut": D(1), "free_spot": D(1), "min_free_fut": D(1), "spot_buffer": D(1), "max_transfer": D(1)},
        {
            "free_fut": ANYTHING,
            "free_spot": FROM_ZERO,
            "min_free_fut": FROM_ZERO,
            "spot_buffer": FROM_ZERO,
            "max_transfer": FROM_ZERO,
        },
    ),
    (
        rules.mark_at_roe,
        {**POSITION, "side": "LONG", "roe": D(1)},
        {**BAD_POSITION, "side": SIDE, "roe": ANYTHING},
    ),
    (
        rules.mark_at_buffer,
        {"side": "LONG", "liq_price": D(1), "buffer": D("0.05")},
        {"side": SIDE, "liq_price": MAYBE_FROM_ZERO, "buffer": BELOW_ONE},
    ),
    (
        rules.average_entry,
        {"qty": D(1), "entry": D(1), "add_qty": D(1), "add_price": D(1)},
        {"qty": FROM_ZERO, "entry": POSITIVE, "add_qty": POSITIVE, "add_price": POSITIVE},
    ),
    (
        rules.initial_margin,
        {"qty": D(1), "price": D(1), "leverage": D(1)},
        {"qty": POSITIVE, "price": POSITIVE, "leverage": POSITIVE},
    ),
    (
        rules.margin_after_add,
        {"margin": D(1), "add_qty": D(1), "add_price": D(1), "leverage": D(1)},
        {"margin": POSITIVE, "add_qty": POSITIVE, "add_price": POSITIVE, "leverage": POSITIVE},
    ),
    (
        rules.margin_after_close,
        {"margin": D(1), "closed_qty": D(1), "qty": D(1)},
        {"margin": POSITIVE, "closed_qty": [*FROM_ZERO, D("1.1")], "qty": POSITIVE},
    ),
    (rules.implied_leverage, POSITION, BAD_POSITION),
    (
        rules.reduce_decision,
        {"qty": D(1), "fraction": D("0.5"), **LOT},
        {"qty": POSITIVE, "fraction": PART, **BAD_LOT},
    ),
    (rules.smallest_valid_qty, LOT, BAD_LOT),
    (rules.round_down, {"x": D(1), "unit": D(1)}, {"x": ANYTHING, "unit": POSITIVE}),
    (rules.round_up, {"x": D(1), "unit": D(1)}, {"x": ANYTHING, "unit": POSITIVE}),
]


def cases() -> Iterator[Any]:
    for rule, valid, bad in RULES:
        for name, values in bad.items():
            yield pytest.param(rule, valid, name, values, id=f"{rule.__name__}-{name}")


@pytest.mark.parametrize(("rule", "valid", "name", "values"), list(cases()))
def test_invalid_input_is_refused_by_name(
    rule: Callable[..., object], valid: dict[str, Any], name: str, values: list[Any]
) -> None:
    rule(**valid)
    for value in values:
        with pytest.raises(ValueError, match=rf"^{name}\b"):
            rule(**{**valid, name: value})


def test_every_rule_is_covered() -> None:
    functions = {name for name in rules.__all__ if name.islower()}
    assert functions == {rule.__name__ for rule, _, _ in RULES}
    assert {rule.__name__ for rule, valid, bad in RULES if valid.keys() != bad.keys()} == {"wac_buy"}
