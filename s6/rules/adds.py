"""Adds to a winning position: each is smaller than the last, and both their number and their sum are capped."""

from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from s6.rules.checks import LONG, SHORT, count, finite, is_long, non_negative, positive
from s6.rules.exact import ZERO, exactly, floor_div, plain

NO_DIRECTION = "NONE"


class NoAdd(StrEnum):
    """Why there is no add."""

    NO_SIGNAL = "NO_SIGNAL"
    OPPOSITE_SIGNAL = "OPPOSITE_SIGNAL"
    BELOW_GATE = "BELOW_GATE"
    CAP_REACHED = "CAP_REACHED"
    SUM_REACHED = "SUM_REACHED"
    BELOW_STEP = "BELOW_STEP"
    BELOW_MIN_QTY = "BELOW_MIN_QTY"
    BELOW_MIN_NOTIONAL = "BELOW_MIN_NOTIONAL"


class AddDecision(NamedTuple):
    """The quantity to add, in base units. It is 0 when `reason` says why there is no add; else `reason` is None."""

    qty: Decimal
    reason: NoAdd | None


def add_on_decision(
    roe: Decimal,
    add_on_count: int,
    added_qty: Decimal,
    q0: Decimal,
    signal: str | None,
    side: str,
    gate: Decimal,
    cap: int,
    gamma: Decimal,
    eta: Decimal,
    step: Decimal,
    min_qty: Decimal,
    min_notional: Decimal,
    mark: Decimal,
) -> AddDecision:
    """Decide how much to add on a signal in the position's own direction, once the return is at least `gate`.

    The j-th add is `q0 * gamma**j`, or what is left of `eta * q0` if that is less, rounded down to the step. An add
    that is too small for an order is not made and never raised to the minimum. `add_on_count` and `added_qty` count
    filled adds only. The caller checks that the signal is new.

    Quantities are in base units, `mark` is in quote units. Returns the quantity, or 0 with the reason. Raises
    `ValueError` naming the argument.
    """
    is_long(side)
    direction = _direction(signal)
    roe, gate = finite("roe", roe), finite("gate", gate)
    gamma, eta = non_negative("gamma", gamma), non_negative("eta", eta)
    q0, added_qty = positive("q0", q0), non_negative("added_qty", added_qty)
    step, mark = positive("step", step), positive("mark", mark)
    min_qty, min_notional = non_negative("min_qty", min_qty), non_negative("min_notional", min_notional)
    add_on_count, cap = count("add_on_count", add_on_count), count("cap", cap)

    if direction is None:
        return _none(NoAdd.NO_SIGNAL)
    if direction != side:
        return _none(NoAdd.OPPOSITE_SIGNAL)
    if roe < gate:
        return _none(NoAdd.BELOW_GATE)
    if add_on_count >= cap:
        return _none(NoAdd.CAP_REACHED)
    with exactly():
        room = eta * q0 - added_qty
        if room <= ZERO:
            return _none(NoAdd.SUM_REACHED)
        qty = floor_div(min(q0 * gamma ** (add_on_count + 1), room), step) * step
        if not qty:
            return _none(NoAdd.BELOW_STEP)
        if qty < min_qty:
            return _none(NoAdd.BELOW_MIN_QTY)
        if qty * mark < min_notional:
            return _none(NoAdd.BELOW_MIN_NOTIONAL)
        return AddDecision(plain(qty), None)


def _direction(signal: object) -> str | None:
    if signal is None or signal == NO_DIRECTION:
        return None
    if signal == LONG:
        return LONG
    if signal == SHORT:
        return SHORT
    raise ValueError(f"signal must be LONG, SHORT, NONE or None, not {signal!r}")


def _none(reason: NoAdd) -> AddDecision:
    return AddDecision(ZERO, reason)
