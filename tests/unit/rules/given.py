"""What the property tests draw from."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

examples = settings(max_examples=100, deadline=None)


@dataclass(frozen=True)
class Lock:
    roe: Decimal
    lock_roe: Decimal


@dataclass(frozen=True)
class Rung:
    roe: Decimal
    fraction: Decimal


def locks(*pairs: tuple[str, str]) -> tuple[Lock, ...]:
    return tuple(Lock(Decimal(roe), Decimal(lock)) for roe, lock in pairs)


def rungs(*pairs: tuple[str, str]) -> tuple[Rung, ...]:
    return tuple(Rung(Decimal(roe), Decimal(fraction)) for roe, fraction in pairs)


def close_to(result: Decimal, exact: Fraction) -> bool:
    """Good to 40 significant digits, which is more than the 26 promised."""
    return abs(Fraction(result) - exact) <= abs(exact) / 10**40


def scaled(low: int, high: int, places: int = 6) -> st.SearchStrategy[Decimal]:
    """Decimals in [low, high] with up to `places` decimal places."""
    return st.integers(0, places).flatmap(
        lambda p: st.integers(low * 10**p, high * 10**p).map(lambda n: Decimal(n).scaleb(-p))
    )


def above_zero(high: int, places: int = 6) -> st.SearchStrategy[Decimal]:
    return st.integers(0, places).flatmap(lambda p: st.integers(1, high * 10**p).map(lambda n: Decimal(n).scaleb(-p)))


sides = st.sampled_from(["LONG", "SHORT"])
few = st.integers(1, 12).map(Decimal)  # so few that thresholds are often met exactly
prices = few | above_zero(100_000)
quantities = few | above_zero(1_000)
margins = few | above_zero(100_000)
units = st.sampled_from([Decimal(u) for u in ("0.001", "0.1", "0.25", "0.5", "1", "1E+1", "0.07")])
ratios = scaled(-3, 3, places=1) | scaled(-3, 3, places=4)
parts = st.integers(1, 10_000).map(lambda n: Decimal(n).scaleb(-4))
small = scaled(0, 2, places=1) | scaled(0, 2, places=4)

lock_steps = st.lists(st.builds(Lock, roe=ratios, lock_roe=ratios), max_size=4).map(
    lambda steps: tuple(sorted(steps, key=lambda s: s.roe))
)
ladders = st.lists(st.builds(Rung, roe=ratios, fraction=parts), max_size=4).map(
    lambda steps: tuple(sorted(steps, key=lambda s: s.roe))
)

stop_arguments: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "side": sides,
        "entry": prices,
        "qty": quantities,
        "margin": margins,
        "mark": prices,
        "atr": st.none() | few | scaled(0, 5_000),
        "k": scaled(0, 4, places=0) | scaled(0, 4),
        "sl_prev": st.none() | prices,
        "level": st.integers(0, 4),
        "lock_steps": lock_steps,
        "tick": units,
        "fallback_pct": small,
        "anchor": st.none() | prices,
        "liq_price": st.none() | few | scaled(0, 100_000),
        "liq_clearance": small,
    }
)

lot_arguments: dict[str, st.SearchStrategy[Any]] = {
    "step": units,
    "min_qty": few | scaled(0, 20, places=3),
    "min_notional": few | scaled(0, 1_000, places=2),
    "mark": prices,
}

tp_arguments: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "roe": ratios,
        "ladder": ladders,
        "done": st.lists(st.integers(0, 4), max_size=3),
        "qty": quantities,
        **lot_arguments,
    }
)

add_arguments: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "roe": ratios,
        "add_on_count": st.integers(0, 4),
        "added_qty": few | scaled(0, 500),
        "q0": quantities,
        "signal": st.sampled_from([None, "NONE", "LONG", "SHORT"]),
        "side": sides,
        "gate": ratios,
        "cap": st.integers(0, 5),
        "gamma": small,
        "eta": small,
        **lot_arguments,
    }
)
