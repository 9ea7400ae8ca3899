"""The Active Bundle: the rules in force, read from configuration and validated as a whole.

Only `parse_bundle` creates one. A bundle never changes, so any thread reads it without a lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from s6.model import jsonx
from s6.model.bundle_fields import (
    SYMBOL_PATTERN,
    BelowOne,
    Count,
    FrozenMap,
    NonNegative,
    Positive,
    PositiveCount,
    exact,
    fault,
    to_ms,
)
from s6.model.bundle_rules import (
    DEFAULT_K_BY_REGIME,
    AddOn,
    FutRules,
    GuardRules,
    LockStep,
    RiskRules,
    Rung,
    Section,
    SpotRules,
    Stagnation,
    StopRules,
)

__all__ = [
    "ActiveBundle",
    "AddOn",
    "BundleError",
    "Execution",
    "FutRules",
    "GuardRules",
    "Health",
    "Limits",
    "LockStep",
    "Retry",
    "RiskRules",
    "Rung",
    "SpotRules",
    "Stagnation",
    "StopRules",
    "SymbolSpec",
    "Treasury",
    "parse_bundle",
]

Symbol = Annotated[str, StringConstraints(pattern=SYMBOL_PATTERN)]
Json = Any  # what jsonx.received gives: dict, list, str, Decimal, Unread, bool or None


class BundleError(ValueError):
    """The whole bundle is refused. `faults` names each fault: its path, its value, what is allowed."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class SymbolSpec(Section):
    """One symbol's grid (prices in quote units, quantities in base units) and the rules merged for it."""

    tick: Positive = Decimal("0.1")
    step: Positive = Decimal("0.001")
    min_qty: NonNegative = Decimal("0.001")
    min_notional: NonNegative = Decimal(5)
    mmr: BelowOne = Decimal("0.004")
    fut: FutRules = FutRules()
    spot: SpotRules = SpotRules()


class Limits(Section):
    """The limits of all positions together, in USDT; None means no limit."""

    fut_budget: NonNegative | None = None
    spot_budget: NonNegative | None = None
    adds_in_flight: Count | None = 10


class Treasury(Section):
    """The rules for moving money from the spot wallet to the futures wallet; amounts are in `asset`."""

    mode: Literal["AUTO", "SEMI"] = "SEMI"
    asset: Symbol = "USDT"
    min_free_fut: NonNegative = Decimal(500)
    spot_buffer: NonNegative = Decimal(200)
    max_transfer: NonNegative = Decimal(10000)
    cooldown_s: NonNegative = Decimal(300)

    @property
    def cooldown_ms(self) -> int:
        return to_ms(self.cooldown_s)


class Retry(Section):
    """Jittered exponential back-off: pauses grow from `base_ms` to at most `cap_ms`, over at most `attempts` tries."""

    base_ms: PositiveCount = 100
    cap_ms: PositiveCount = 5000
    attempts: PositiveCount = 6
    fatal_after_s: Positive = Decimal(60)

    @property
    def fatal_after_ms(self) -> int:
        return to_ms(self.fatal_after_s)

    @field_validator("cap_ms")
    @classmethod
    def _not_below_base(cls, cap_ms: int, info: ValidationInfo) -> int:
        base_ms = info.data.get("base_ms")
        if base_ms is not None and cap_ms < base_ms:
            raise fault(f"at least base_ms {base_ms}")
        return cap_ms


class Execution(Section):
    """The times that an operation waits for S4 and the market."""

    cancel_wait_ms: PositiveCount = 2000
    breach_grace_ms: Count = 2000
    retry: Retry = Retry()


class Health(Section):
    """The age at which market data counts as stale, and the period of the neighbours' health checks."""

    market_stale_ms: PositiveCount = 5000
    poll_interval_s: Positive = Decimal(2)
    clock_skew_ms: Count = 5000

    @property
    def poll_interval_ms(self) -> int:
        return to_ms(self.poll_interval_s)


class ActiveBundle(Section):
    """The rules in force. `fut(symbol)` and `spot(symbol)` give the rules with the symbol's own overrides."""

    version: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    general_fut: FutRules = Field(default=FutRules(), alias="fut")
    general_spot: SpotRules = Field(default=SpotRules(), alias="spot")
    symbols: Annotated[Mapping[Symbol, SymbolSpec], AfterValidator(FrozenMap)]
    limits: Limits = Limits()
    treasury: Treasury = Treasury()
    execution: Execution = Execution()
    health: Health = Health()

    def fut(self, symbol: str) -> FutRules | None:
        """Return the rules for futures positions in `symbol`, or None if the bundle does not name the symbol."""
        spec = self.symbols.get(symbol)
        return spec.fut if spec else None

    def spot(self, symbol: str) -> SpotRules | None:
        """Return the rules for spot positions in `symbol`, or None if the bundle does not name the symbol."""
        spec = self.symbols.get(symbol)
        return spec.spot if spec else None

    def knows_regime(self, symbol: str, regime: str) -> bool:
        """Return whether the rules for `symbol` name `regime`. A symbol that the bundle lacks has the general rules."""
        fut = self.fut(symbol) or self.general_fut
        spot = self.spot(symbol) or self.general_spot
        return regime in fut.stop.k_by_regime or regime in spot.guard.k_by_regime


def parse_bundle(text: str | bytes) -> ActiveBundle:
    """Read and validate a bundle.

    Numbers keep the exact digits of their text. Raises `BundleError` naming every fault.
    """
    document = _load(text)
    try:
        bundle = ActiveBundle.model_validate(_with_overrides(document))
    except ValidationError as error:
        raise BundleError(_faults(error)) from None
    if unread := tuple(f"{_path(where)} = {text[:40]}" for where, text in _unread(document, ())):
        raise BundleError((f"bundle: must be JSON with usable numbers ({'; '.join(unread)[:500]})",))
    return bundle


def _load(text: str | bytes) -> dict[str, Json]:
    try:
        document = jsonx.received(text, whole=Decimal)
    except ValueError as error:
        raise BundleError((f"bundle: must be JSON ({error})",)) from None
    if not isinstance(document, dict):
        raise BundleError(("bundle: must be a JSON object",))
    return document


def _unread(value: Json, where: tuple[int | str, ...]) -> Iterator[tuple[tuple[int | str, ...], str]]:
    """Yield where in the document numbers stand that S6 doesn't accept, and their texts."""
    if isinstance(value, jsonx.Unread):
        yield where, value.text
    elif isinstance(value, dict | list):
        for name, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _unread(member, (*where, name))


# --- a symbol's own rules over the general ones -----------------------------------------------------------------------


def _with_overrides(document: dict[str, Json]) -> dict[str, Json]:
    symbols = document.get("symbols")
    if not isinstance(symbols, dict):
        return document
    merged = {name: _merged_symbol(document, spec) for name, spec in symbols.items()}
    return {**document, "symbols": merged}


def _merged_symbol(document: dict[str, Json], spec: Json) -> Json:
    if not isinstance(spec, dict):
        return spec
    fut, spot = document.get("fut", {}), document.get("spot", {})
    return {
        **spec,
        "fut": _merge(_with_default_regimes(fut), _override(spec, "fut")),
        "spot": _merge(_without_overridden_regimes(spot, _override(spec, "spot")), _override(spec, "spot")),
    }


def _override(spec: dict[str, Json], market: str) -> Json:
    own = spec.get(market)
    return {} if own is None else own


def _merge(general: Json, own: Json) -> Json:
    """Objects merge member by member; lists, values and null replace."""
    if not (isinstance(general, dict) and isinstance(own, dict)):
        return own
    return {**general, **{name: _merge(general[name], own[name]) if name in general else own[name] for name in own}}


def _with_default_regimes(fut: Json) -> Json:
    """Fill in the default regimes where `fut` has none, so that a symbol's own regime merges with them."""
    return _merge({"stop": {"k_by_regime": dict(DEFAULT_K_BY_REGIME)}}, fut) if _lacks_regimes(fut) else fut


def _lacks_regimes(fut: Json) -> bool:
    stop = fut.get("stop", {}) if isinstance(fut, dict) else None
    return isinstance(stop, dict) and "k_by_regime" not in stop


def _without_overridden_regimes(spot: Json, own: Json) -> Json:
    """Drop the inherited regimes if the symbol sets `k_atr` without regimes: its one multiplier then applies."""
    guard, own_guard = _member(spot, "guard"), _member(own, "guard")
    if "k_atr" not in own_guard or "k_by_regime" in own_guard or not guard:
        return spot
    return {**spot, "guard": {name: value for name, value in guard.items() if name != "k_by_regime"}}


def _member(holder: Json, name: str) -> dict[str, Json]:
    member = holder.get(name) if isinstance(holder, dict) else None
    return member if isinstance(member, dict) else {}


# --- faults in words --------------------------------------------------------------------------------------------------

_ALLOWED: Final[Mapping[str, str]] = {
    "missing": "must be present",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "mapping_type": "must be an object",
    "dict_type": "must be an object",
    "tuple_type": "must be a list",
    "string_type": "must be a string",
}


def _faults(error: ValidationError) -> tuple[str, ...]:
    """Return one line for each fault. A fault that a symbol inherits from the general rules appears once."""
    lines: dict[str, None] = {}
    general = {_fault(detail, skip=0) for detail in error.errors() if detail["loc"][0] in ("fut", "spot")}
    for detail in error.errors():
        inherited = detail["loc"][0] == "symbols" and _fault(detail, skip=2) in general
        if not inherited:
            lines[_fault(detail, skip=0)] = None
    return tuple(lines)


def _fault(detail: ErrorDetails, *, skip: int) -> str:
    context = detail.get("ctx", {})
    path = _path(detail["loc"][skip:]) + context.get("at", "")
    value = "" if detail["type"] == "missing" else _shown(detail["input"])
    return f"{path}{value}: {_allowed(detail, context)}"


def _path(location: tuple[int | str, ...]) -> str:
    parts = [
        f"[{part}]" if isinstance(part, int) else f".{json.dumps(part)[1:-1]}" for part in location if part != "[key]"
    ]
    return "".join(parts).removeprefix(".")


def _shown(value: Json) -> str:
    if value is None:
        return " = null"
    number = exact(value) if not isinstance(value, str) else None
    if number is not None or isinstance(value, Decimal | bool | jsonx.Unread):
        return f" = {str(value)[:40]}".lower()
    return f" = {json.dumps(value[:40])}" if isinstance(value, str) else ""


def _allowed(detail: ErrorDetails, context: Mapping[str, Any]) -> str:
    kind = detail["type"]
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}"
    return _ALLOWED.get(kind) or detail["msg"]
