"""What goes wrong in one seed, and how often. Most seeds have a few kinds of trouble, some have none, some have all:
a fault that hides another one in one seed is absent in the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final, Literal

CancelFate = Literal["CANCELED", "REJECTED", "FILL", "PART", "SILENT_GONE", "SILENT_LIVE", "LATE"]

#: EXIT: no exit is taken. BETTER: no other price of a stop than the last one. MISSING: S4 says that it holds nothing.
#: EXPIRY: S4 takes each stop and ends it. INGRESS: what stands before S4 answers 403 or 404.
Spell = Literal["EXIT", "BETTER", "MISSING", "EXPIRY", "INGRESS"]
#: GONE: the bundle no longer names the symbol. STEP: no position has a whole step. LADDER: the rungs are others.
Terms = Literal["GONE", "STEP", "LADDER"]
SPELLS: Final[tuple[Spell, ...]] = ("EXIT", "BETTER", "MISSING", "EXPIRY", "INGRESS")
TERMS: Final[tuple[Terms, ...]] = ("GONE", "STEP", "LADDER")


@dataclass(frozen=True, slots=True)
class Profile:
    """Probabilities; ``every_*`` are the mean numbers of commands between two faults of a kind (0: never).

    ``skew`` is by how much (ms) each process's clock may be off. ``crowd`` is the number of positions (0: drawn),
    ``trend`` the market's direction (0: drawn; otherwise all positions are LONG on FUT), ``bundle`` the one that is in
    force at first (None: drawn). On a ``cluster`` no script reaches both a position and the indexes or streams.
    """

    every_crash: int = 0
    every_loss: int = 0
    every_pause: int = 0
    every_gap: int = 0
    crash_call: float = 0
    lose_call: float = 0
    double_call: float = 0
    lose_hint: float = 0
    double_hint: float = 0
    late_hint: float = 0
    double_result: float = 0
    late_result: float = 0
    lose_tick: float = 0
    late_tick: float = 0
    refuse: float = 0
    partial: float = 0.3
    slow_fill: float = 0
    odd_cancel: float = 0
    s4_down: bool = False
    redis_down: bool = False
    store_down: bool = False
    stale: bool = False
    wipe: bool = False
    failover: bool = False
    figures: bool = False
    copies: bool = False
    skew: int = 0
    deaf: float = 0
    cluster: bool = False
    gather: float = 0
    crowd: int = 0
    trend: int = 0
    bundle: int | None = None
    odd: float = 0
    foreign: bool = False
    spell: Spell | None = None
    long_rest: bool = False
    set_back: bool = False
    terms: Terms | None = None
    old_signal: float = 0
    meddling: bool = False

    def cancel_fate(self, rng: Random) -> CancelFate:
        if rng.random() >= self.odd_cancel:
            return "CANCELED"
        fates: tuple[CancelFate, ...] = ("REJECTED", "FILL", "PART", "SILENT_GONE", "SILENT_LIVE", "LATE")
        return rng.choice(fates)


CALM = Profile()


def drawn(rng: Random) -> Profile:
    """The profile of a seed."""

    def some(rate: float, chance: float = 0.35) -> float:
        return rate if rng.random() < chance else 0.0

    def every(mean: int, chance: float = 0.35) -> int:
        return mean if rng.random() < chance else 0

    if rng.random() < 0.04:
        return CALM
    return Profile(
        every_crash=every(rng.choice([60, 150, 400])),
        every_loss=every(rng.choice([80, 200, 500])),
        every_pause=every(rng.choice([300, 800]), 0.2),
        every_gap=every(rng.choice([5, 15, 40]), 0.6),
        crash_call=some(0.08),
        lose_call=some(rng.choice([0.05, 0.2])),
        double_call=some(0.1),
        lose_hint=some(rng.choice([0.1, 0.4])),
        double_hint=some(0.2),
        late_hint=some(0.15),
        double_result=some(0.3),
        late_result=some(0.2),
        lose_tick=some(0.1),
        late_tick=some(0.1),
        refuse=some(rng.choice([0.05, 0.2])),
        partial=rng.choice([0.0, 0.3, 0.7]),
        slow_fill=some(0.15),
        odd_cancel=some(rng.choice([0.15, 0.5])),
        s4_down=rng.random() < 0.2,
        redis_down=rng.random() < 0.15,
        store_down=rng.random() < 0.25,
        stale=rng.random() < 0.15,
        wipe=rng.random() < 0.2,
        figures=rng.random() < 0.3,
        copies=rng.random() < 0.4,
        failover=rng.random() < 0.15,
        skew=rng.choice([0, 0, 0, 2_000]),
        deaf=some(0.3, 0.15),
        odd=some(rng.choice([0.1, 0.5]), 0.25),
        foreign=rng.random() < 0.25,
        spell=rng.choice(SPELLS) if rng.random() < 0.25 else None,
        long_rest=rng.random() < 0.1,
        set_back=rng.random() < 0.1,
        terms=rng.choice(TERMS) if rng.random() < 0.2 else None,
        old_signal=some(0.5, 0.2),
        meddling=rng.random() < 0.3,
        cluster=rng.random() < 0.3,
        gather=some(rng.choice([0.3, 0.9]), 0.5),
    )
