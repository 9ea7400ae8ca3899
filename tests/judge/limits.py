"""The bundle's limits for one position, as they stood at a record of the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from s6.paper.domain import ZERO
from tests.judge.history import History, PositionTrace, number


@dataclass(frozen=True, slots=True)
class Limits:
    """How many rungs, reductions and adds a life may see, what its adds may sum to (`eta`·q0), a signal's age."""

    rungs: int
    reduces: int
    adds: int
    eta: Decimal
    signal_ttl_s: Decimal


def limits_at(history: History, position: PositionTrace, n: int) -> Limits:
    """The most generous limits of the bundles published before record `n`: which one S6 had yet, it alone knows."""
    found = [_limits(bundle, position) for at, bundle in history.bundles if at <= n]
    if not found:
        return Limits(0, 0, 0, ZERO, ZERO)
    return Limits(
        max(limits.rungs for limits in found),
        max(limits.reduces for limits in found),
        max(limits.adds for limits in found),
        max(limits.eta for limits in found),
        max(limits.signal_ttl_s for limits in found),
    )


def _limits(bundle: Mapping[str, object], position: PositionTrace) -> Limits:
    market = "fut" if position.market == "FUT" else "spot"
    own = _mapping(_mapping(_mapping(bundle.get("symbols")).get(position.symbol)).get(market))
    rules = _merged(_mapping(bundle.get(market)), own)
    ladder, add_on, risk = rules.get("tp_ladder"), _mapping(rules.get("add_on")), _mapping(rules.get("risk"))
    return Limits(
        rungs=len(ladder) if isinstance(ladder, list) else 0,
        reduces=int(number(risk.get("max_reduces", 3))),
        adds=int(number(add_on.get("cap", 3))) if add_on else 0,
        eta=number(add_on.get("eta", "0.8")) if add_on else ZERO,
        signal_ttl_s=number(add_on.get("signal_ttl_s", 60)),
    )


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> Mapping[str, object]:
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
