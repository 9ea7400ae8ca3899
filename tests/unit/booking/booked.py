"""A result booked, for the tests of booking."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any, Final

from s6.booking import Booking, SymbolTerms, book
from s6.model.position import Order, Position
from tests.unit.given import NOW, result

TERMS: Final = SymbolTerms(D("0.001"), D("0.004"))


def n(*values: D | int | str) -> tuple[D, ...]:
    """As decimals, to be compared."""
    return tuple(map(D, values))


def booked(p: Position | None, known: Order | None = None, *, terms: SymbolTerms = TERMS, **fields: Any) -> Booking:
    """What comes of a result that says something new."""
    found = book(p, known, result(**fields), mark=None, terms=terms, now=NOW)
    assert found is not None
    return found
