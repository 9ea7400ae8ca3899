"""Numbers that come from outside: exact, finite and of a size that arithmetic can bear."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

LONGEST: Final = 64
LARGEST: Final = Decimal("1e18")
SMALLEST: Final = Decimal("1e-18")
ALLOWED: Final = f"a decimal number of at most {LONGEST} characters, 0 or between 1e-18 and 1e18 in size"
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")


class Fault(ValueError):
    """A number that S6 doesn't accept. The text says what is allowed."""


def number(value: object) -> Decimal:
    """Return the number in a text, an ``int`` or a ``Decimal``. Raises ``Fault``."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise Fault(f"must be {ALLOWED}")
    text = str(value)
    if len(text) > LONGEST or not _NUMBER.fullmatch(text):
        raise Fault(f"must be {ALLOWED}")
    found = Decimal(text)
    if found and not SMALLEST <= found.copy_abs() <= LARGEST:
        raise Fault(f"must be {ALLOWED}")
    return found
