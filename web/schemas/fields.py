"""The types of fields that several models share."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from s6.model.numbers import Fault, number

T = TypeVar("T")

_DECIMALS = 18


def _amount(value: object) -> Decimal:
    """Check an amount. The JSON reader gives numbers as int or Decimal, never as float."""
    try:
        amount = number(value)
    except Fault as fault:
        raise ValueError(str(fault)) from None
    if amount <= 0:
        raise ValueError("must be above 0")
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -_DECIMALS:
        raise ValueError(f"must have at most {_DECIMALS} decimals")
    return amount


def _tidy(text: str) -> str:
    """Return people's text in a form that Redis, the store and a terminal can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    if any(ch < " " and ch not in "\n\t" for ch in text):
        raise ValueError("must not hold control characters")
    return text.strip()


def _not_blank(text: str) -> str:
    if not text:
        raise ValueError("must not be blank")
    return text


Amount = Annotated[
    Decimal,
    BeforeValidator(_amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 10**18},
                {"type": "string", "pattern": r"^[+]?[0-9]{1,40}(\.[0-9]{1,18})?$"},
            ],
            "description": "A positive decimal, as a JSON number or as a string; read by its exact digits.",
        }
    ),
]
Number = Annotated[Decimal, WithJsonSchema({"type": "number"})]
Text = Annotated[str, Field(max_length=500), AfterValidator(_tidy)]
Name = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_tidy), AfterValidator(_not_blank)]
Reason = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_tidy), AfterValidator(_not_blank)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,24}$", examples=["BTCUSDT"])]
PositionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$", examples=["p-1"])]
TransferId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$", examples=["t-1"])]
Limit = Annotated[int, Field(ge=1, le=500)]
Cursor = Annotated[str, Field(max_length=500)]
Ts = Annotated[int, Field(description="Milliseconds since the Unix epoch, UTC.")]


class Body(BaseModel):
    """A request body. It refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class Query(BaseModel):
    """Query parameters. It refuses unknown ones; empty ones count as absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """An answer. The named members are always present; others may be added."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Paged(Query):
    """The parameters of a list that is read page by page."""

    limit: Limit = 100
    cursor: Annotated[
        Cursor | None, Field(description="`next_cursor` of the page before; absent for the first page.")
    ] = None


class Page(Answer, Generic[T]):
    """A part of a list. A page may be shorter than `limit`; the list ends where `next_cursor` is null."""

    items: list[T]
    next_cursor: str | None
