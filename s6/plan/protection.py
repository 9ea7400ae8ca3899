"""Whether a position has its stop for the whole quantity it holds. Pure."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final, NamedTuple

from s6 import rules
from s6.model.position import Position
from s6.plan.terms import last_terms


def is_protected(p: Position) -> bool:
    """Return whether nothing of the position stands without a stop: it rests at S4, or S6 guards it itself.

    A position that is closed, or whose symbol no bundle ever named, needs none.
    """
    spec = last_terms(p)
    if not p.is_open or spec is None:
        return True
    if p.market == "SPOT" or p.self_guarded:
        return p.sl_price is not None
    return covered(p) >= rules.round_down(p.qty, spec.step)


LATEST_MS: Final = 24 * 3_600_000
"""News that is older than this says nothing about how long a position stood without a stop."""


class Watched(NamedTuple):
    """A position whose time without a stop is counted; ``seconds`` where such a time ended, ``first`` with the stop
    that a life begins with."""

    position: Position
    seconds: float | None = None
    first: bool = False


def watched(p: Position, now: int, since: int | None = None) -> Watched:
    """Begin, go on with or end the time that the position stands without a stop for its whole quantity.

    A symbol that no bundle ever named is a cause like any other, although S6 can place nothing for it.

    ``since`` is when what is written happened at the exchange, where that is known: the time begins then, and not when
    S6 hears of it.
    """
    protected = is_protected(p) and (bool(p.terms) or not p.is_open or covered(p) >= p.qty)
    if protected == (p.unprotected_since == 0):
        return Watched(p)
    if not protected:
        begun = now if since is None else max(since, p.sl_ts)  # at the last stop's acceptance it had one
        return Watched(replace(p, unprotected_since=begun if 0 <= now - begun <= LATEST_MS else now))
    seconds = max(now - p.unprotected_since, 0) / 1000
    return Watched(replace(p, unprotected_since=0), seconds, p.is_open and p.sl_fallback is None)


def covered(p: Position) -> Decimal:
    """Return the quantity that the live stop still closes."""
    stop = p.live_stop
    return stop.remaining if stop is not None and stop.status != "PENDING" else Decimal(0)
