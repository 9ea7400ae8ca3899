"""Which rungs of a take-profit ladder count as done, whatever ladder came before."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from s6.model import jsonx


@lru_cache(1024)
def _roes(ladder: str) -> tuple[Decimal, ...]:
    return tuple(Decimal(rung["roe"]) for rung in jsonx.loads(ladder)) if ladder else ()


def rungs_done(ladder: str, taken: Decimal | None) -> tuple[int, ...]:
    """Return the indexes of the rungs at or below the highest ROE already taken. ``ladder`` is JSON, as it is kept."""
    return () if taken is None else tuple(index for index, roe in enumerate(_roes(ladder)) if roe <= taken)


def highest(ladder: str, rungs: tuple[int, ...]) -> Decimal | None:
    """Return the highest ROE among those rungs; None where the ladder has none of them."""
    roes = _roes(ladder)
    return max((roes[index] for index in rungs if index < len(roes)), default=None)
