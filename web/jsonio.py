"""JSON of the HTTP API: reads and writes numbers with their exact digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal

from s6.model import jsonx


class Malformed(ValueError):
    """The text is not JSON, or an object has a member twice."""


def loads(raw: bytes) -> object:
    """Parse ``raw`` (UTF-8). Numbers with a fraction or an exponent become ``Decimal``; one that S6 doesn't accept
    becomes ``jsonx.Unread``, which no field takes.

    Raises ``Malformed`` for anything that is not strict JSON: NaN, infinities, a member given twice, too deep nesting
    or too many digits.
    """
    try:
        return jsonx.received(raw.decode("utf-8"), members=_members)
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    except Malformed:
        raise
    except ValueError as error:
        raise Malformed(str(error)) from None


def dumps(value: object) -> str:
    """Return JSON text of plain values and frozen records. A Decimal becomes a number with exactly its digits."""
    return jsonx.dumps(plain(value))


def plain(value: object) -> object:
    """Return ``value`` as JSON types: records become objects, floats (measurements) their shortest decimals."""
    if isinstance(value, Mapping):
        return {str(name): plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return Decimal(repr(value))
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if any(name == other for other, _ in pairs[:i]))
        raise Malformed(f"member {twice[:80]!r} is given twice")
    return members
