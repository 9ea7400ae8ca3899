"""The terms that govern a position: its symbol's in the bundle, or the last ones that did.

A bundle that no longer names a symbol must not leave open positions without their stops. So the terms are kept with
each position, and go on for stops, guards, risk and exits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache

from s6 import rules
from s6.booking import rungs_done
from s6.booking.ladder import highest
from s6.model import jsonx
from s6.model.bundle import ActiveBundle, FutRules, SpotRules, StopRules, SymbolSpec
from s6.model.bundle_rules import Rung
from s6.model.position import Position
from s6.model.types import Market


@dataclass(frozen=True, slots=True)
class Terms:
    """A symbol's lattice and rules for one position. ``current``: the bundle in force names the symbol."""

    spec: SymbolSpec
    current: bool


def terms_of(p: Position, bundle: ActiveBundle) -> Terms | None:
    """Return the terms that govern the position; None where no bundle ever named its symbol."""
    spec = bundle.symbols.get(p.symbol)
    if spec is not None:
        return Terms(spec, True)
    last = last_terms(p)
    return Terms(last, False) if last is not None else None


def last_terms(p: Position) -> SymbolSpec | None:
    """Return the terms that last governed the position; None where no bundle ever named its symbol."""
    return _parsed(p.terms) if p.terms else None


def in_force(p: Position, bundle: ActiveBundle) -> Position:
    """Return the position with what it keeps of the bundle that governs it: terms, version, ladder, liquidation price.

    Rungs of a new ladder at or below the highest ROE already taken count as done.
    """
    spec = bundle.symbols.get(p.symbol)
    if spec is None or not p.is_open:
        return p
    p = _with_liquidation_price(p, spec)
    ladder = _ladder_text(spec.fut.tp_ladder if p.market == "FUT" else spec.spot.tp_ladder)
    if ladder != p.ladder:
        taken = p.tp_roe if p.tp_roe is not None else highest(p.ladder, p.tp_done)
        p = replace(p, ladder=ladder, tp_roe=taken, tp_done=rungs_done(ladder, taken))
    return replace(p, bundle_version=bundle.version, terms=_text(spec, p.market))


def stop_rules(p: Position, spec: SymbolSpec) -> StopRules:
    """Return the rules of the position's stop, or of its guard on SPOT."""
    return spec.fut.stop if p.market == "FUT" else spec.spot.guard


def fut_rules(p: Position, spec: SymbolSpec) -> FutRules | None:
    return spec.fut if p.market == "FUT" else None


def spot_rules(p: Position, spec: SymbolSpec) -> SpotRules | None:
    return spec.spot if p.market == "SPOT" else None


def _with_liquidation_price(p: Position, spec: SymbolSpec) -> Position:
    """The position with the liquidation price that nobody could compute while no bundle named its symbol."""
    if p.bundle_version or p.market != "FUT" or p.liq_price or not p.qty or p.isolated_margin_usdt <= 0:
        return p
    entry, margin = p.entry_price_avg, p.isolated_margin_usdt
    liq = rules.liquidation_price(entry=entry, qty=p.qty, margin=margin, mmr=spec.mmr, side=p.side)
    return replace(p, liq_price=liq)


@lru_cache(1024)
def _ladder_text(ladder: tuple[Rung, ...]) -> str:
    return jsonx.dumps([{"roe": rung.roe, "fraction": rung.fraction} for rung in ladder])


@lru_cache(4096)
def _text(spec: SymbolSpec, market: Market) -> str:
    """The terms as JSON, without what belongs to the other market."""
    return jsonx.dumps(spec.model_dump(exclude={"spot" if market == "FUT" else "fut"}, warnings=False))


@lru_cache(4096)
def _parsed(text: str) -> SymbolSpec:
    return SymbolSpec.model_validate(json.loads(text, parse_float=Decimal, parse_int=Decimal))
