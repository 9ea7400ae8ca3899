"""Reads what is usable of an order result: the fill first, then the figures beside it.

The exchange decides what is held. So a bad figure never makes S6 lose a change of quantity: it ignores a figure that
doesn't belong to the result's kind or market, and counts an impossible one that belongs as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, get_args

from s6.model.numbers import Fault, number
from s6.model.types import OPENING_KINDS, ZERO, Market, OrderKind, OrderSide, OrderType, ResultStatus

_STATUSES: Final = frozenset(get_args(ResultStatus))
_TYPES: Final = frozenset(get_args(OrderType))
_WORDS: Final = {name: frozenset(get_args(kind)) for name, kind in
                 (("market", Market), ("kind", OrderKind), ("side", OrderSide))}  # fmt: skip
LONGEST_ID: Final = 128
_LIKE: Final = (("EXPIRED", "EXPIRED"), ("CANCEL", "CANCELED"), ("REJECT", "REJECTED"))
"""The beginnings of exchanges' own statuses, and the statuses that they mean."""


def understood(data: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of an ``OrderResult``, with ``odd`` and ``guessed`` naming what was not taken as it stands."""
    found = {name: value for name, value in data.items() if value is not None}
    odd: list[str] = []
    guessed: list[str] = []
    _names(found, odd)
    for name, words in _WORDS.items():
        said = str(found.get(name, "")).upper()
        _word(found, guessed, name, said if said in words else None)
    _quantities(found, odd)
    futures = found.get("market") == "FUT" and str(found.get("kind")) in OPENING_KINDS
    spot_buy = found.get("market") == "SPOT" and found.get("side") == "BUY"
    _figure(found, odd, "leverage", belongs=futures, above=ZERO)
    _figure(found, odd, "isolated_margin_usdt", belongs=futures, above=ZERO)
    _figure(found, odd, "liq_price", belongs=futures, least=ZERO)
    _figure(found, odd, "fee_qty", belongs=spot_buy, least=ZERO)
    _figure(found, odd, "fee", belongs=True)
    _figure(found, [], "avg_price", belongs=True, above=ZERO)  # only the books know whether they need it
    _word(found, guessed, "status", _status(found))
    _word(found, guessed, "type", "MARKET" if "type" not in found else _type(str(found["type"])))
    found["reason"] = str(found.get("reason", ""))[:500]
    return {**found, "odd": tuple(odd), "guessed": tuple(guessed)}


def _names(found: dict[str, object], odd: list[str]) -> None:
    """Read ids that JSON may hold as numbers. An id of the exchange that cannot be is absent; an intent decides nothing
    and is cut."""
    for name in ("client_order_id", "order_id", "intent_id"):
        value = found.get(name)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            found[name] = f"{value:f}" if isinstance(value, Decimal) else str(value)
    order_id = found.get("order_id", "")
    if not isinstance(order_id, str) or len(order_id) > LONGEST_ID:
        odd.append(f"order_id {str(found.pop('order_id'))[:64]}")
    intent_id = found.get("intent_id", "")
    found["intent_id"] = intent_id[:256] if isinstance(intent_id, str) else ""


def _quantities(found: dict[str, object], odd: list[str]) -> None:
    """Fill in quantities: ``qty`` 0 or absent is ``filled_qty``; FILLED without ``filled_qty`` is all of ``qty``."""
    qty = _figure(found, odd, "qty", belongs=True, above=ZERO)
    if found.get("filled_qty") in ("", None):
        found.pop("filled_qty", None)
        if qty is not None and found.get("status") == "FILLED":
            found["filled_qty"] = qty
    found.setdefault("qty", found.get("filled_qty", ZERO))


def _figure(
    found: dict[str, object],
    odd: list[str],
    name: str,
    *,
    belongs: bool,
    above: Decimal | None = None,
    least: Decimal | None = None,
) -> Decimal | None:
    """Check one figure in place, or remove it. ``odd`` gets an impossible one that belongs. Returns the figure."""
    raw = found.pop(name, "")
    if raw == "" or not belongs:
        return None
    try:
        value = number(raw)
    except Fault:
        odd.append(f"{name} {str(raw)[:64]}")
        return None
    if (above is not None and value <= above) or (least is not None and value < least):
        if name != "qty":
            odd.append(f"{name} {str(raw)[:64]}")
        return None
    found[name] = value
    return value


def _word(found: dict[str, object], guessed: list[str], name: str, meaning: str | None) -> None:
    if meaning is not None and found.get(name) != meaning:
        if name in found:
            guessed.append(f"{name} {str(found[name])[:64]} taken for {meaning}")
        found[name] = meaning


def _status(found: Mapping[str, object]) -> str | None:
    """Return the contract's word for the status: by its beginning, else by the fill; None: nothing can be said."""
    said = str(found.get("status", "")).upper()
    if not said or said in _STATUSES:
        return said or None
    for beginning, meaning in _LIKE:
        if said.startswith(beginning):
            return meaning
    try:
        filled, qty = number(found.get("filled_qty", ZERO)), number(found.get("qty", ZERO))
    except Fault:
        return None
    if filled <= 0:
        return None
    return "FILLED" if filled >= qty else "PARTIALLY_FILLED"


def _type(said: str) -> str:
    """Return the contract's word for the type; what it doesn't know rests, as far as anybody can tell."""
    return said if said in _TYPES else "STOP_MARKET" if "STOP" in said.upper() else "LIMIT"
