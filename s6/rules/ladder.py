"""The take-profit ladder: which rungs are due, and how much to close for them."""

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from s6.rules.checks import count, finite, fraction_of_whole, pairs
from s6.rules.exact import ONE, ZERO, exactly
from s6.rules.sizing import Lot


class Rung(Protocol):
    """At the return `roe`, S6 closes the part `fraction` (in (0, 1]) of what is then held."""

    @property
    def roe(self) -> Decimal: ...
    @property
    def fraction(self) -> Decimal: ...


class TpDecision(NamedTuple):
    """`qty` is how much to close, 0 for nothing. `rungs` holds the indexes, from 0, of the rungs that this takes."""

    qty: Decimal
    rungs: tuple[int, ...]


NOTHING_DUE = TpDecision(ZERO, ())


def tp_ladder_decision(
    roe: Decimal,
    ladder: Sequence[Rung],
    done: Collection[int],
    qty: Decimal,
    step: Decimal,
    min_qty: Decimal,
    min_notional: Decimal,
    mark: Decimal,
) -> TpDecision:
    """Decide what to close for all rungs that `roe` has reached and that are not in `done`.

    Each rung takes its fraction of what the rung before it left, unrounded in between. The sum is rounded down to a
    multiple of `step` and raised to the smallest valid quantity; it is everything when less than that would remain.
    If less than one step is held, there is nothing to close and no rung is done.

    Quantities are in base units, `mark` is in quote units. Returns the quantity and the rungs it takes. Raises
    `ValueError` naming the argument.
    """
    roe = finite("roe", roe)
    rungs = [
        (finite(f"{label}.roe", reached_at), fraction_of_whole(f"{label}.fraction", fraction))
        for label, reached_at, fraction in pairs("ladder", ladder, "roe", "fraction")
    ]
    finished = _indexes(done)
    lot = Lot.checked(qty, step, min_qty, min_notional, mark)
    due = [i for i, (reached_at, _) in enumerate(rungs) if roe >= reached_at and i not in finished]
    if not due:
        return NOTHING_DUE
    with exactly():
        left = ONE
        for i in due:
            left *= ONE - rungs[i][1]
        closed = lot.closing(ONE - left)
    return TpDecision(closed, tuple(due)) if closed else NOTHING_DUE


def _indexes(done: object) -> frozenset[int]:
    if not isinstance(done, Collection) or isinstance(done, str | bytes):
        raise ValueError(f"done must be a collection of rung indexes, not {done!r}")
    return frozenset(count("done", index) for index in done)
