"""The rules for positions: the Active Bundle's `fut` and `spot` sections with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

from s6.model.bundle_fields import BelowOne, Count, FrozenMap, Inside, NonNegative, Number, Share, fault, to_ms

DEFAULT_K_BY_REGIME: Final[Mapping[str, Decimal]] = FrozenMap(
    {"LOW": Decimal("1.5"), "NORMAL": Decimal("2.0"), "HIGH": Decimal("3.0")}
)


class Section(BaseModel):
    """An immutable part of the bundle. It ignores members that it does not name and checks all others, defaults too."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)


class LockStep(Section):
    """From ROE `roe` on, the stop locks in `lock_roe`. A negative `lock_roe` bounds the loss."""

    roe: Number
    lock_roe: Number

    @field_validator("lock_roe")
    @classmethod
    def _below_roe(cls, lock_roe: Decimal, info: ValidationInfo) -> Decimal:
        roe = info.data.get("roe")
        if roe is not None and lock_roe >= roe:
            raise fault(f"below the step's roe {roe}")
        return lock_roe


class Rung(Section):
    """At ROE `roe`, S6 takes profit on `fraction` of what then remains."""

    roe: NonNegative
    fraction: Share


StepT = TypeVar("StepT", LockStep, Rung)


def _none_is_off(value: Any) -> Any:
    return () if value is None else value


def _ascending(steps: tuple[StepT, ...]) -> tuple[StepT, ...]:
    for index, (lower, upper) in enumerate(pairwise(steps), start=1):
        if upper.roe <= lower.roe:
            raise fault(f"above the roe {lower.roe} before it", at=f"[{index}].roe = {upper.roe}")
    return steps


LockSteps = Annotated[tuple[LockStep, ...], BeforeValidator(_none_is_off), AfterValidator(_ascending)]
Ladder = Annotated[tuple[Rung, ...], BeforeValidator(_none_is_off), AfterValidator(_ascending)]
Regimes = Annotated[Mapping[str, NonNegative], AfterValidator(FrozenMap)]


class StopRules(Section):
    """The rules for a futures position's stop. `min_move_bps` is in basis points of the old stop's price."""

    k_by_regime: Regimes = DEFAULT_K_BY_REGIME
    default_regime: str = "NORMAL"
    fallback_pct: Inside = Decimal("0.02")
    anchor: Literal["ENTRY", "BEST"] = "ENTRY"
    lock_steps: LockSteps = ()
    liq_clearance: NonNegative = Decimal("0.005")
    min_move_bps: NonNegative = Decimal(0)
    min_interval_s: NonNegative = Decimal(0)

    @field_validator("default_regime")
    @classmethod
    def _among_the_regimes(cls, regime: str, info: ValidationInfo) -> str:
        regimes = info.data.get("k_by_regime")
        if regimes is not None and regime not in regimes and not cls._may_lack_regimes(regimes):
            raise fault(f"one of the regimes {', '.join(sorted(regimes)) or '(there are none)'}")
        return regime

    @classmethod
    def _may_lack_regimes(cls, regimes: Mapping[str, Decimal]) -> bool:
        return False

    def k_for(self, regime: str | None) -> tuple[Decimal, bool]:
        """Return the ATR multiplier in `regime`, and whether the rules know the regime.

        An unknown regime gets the default one's multiplier. None (no regime received yet) counts as known.
        """
        if regime is None:
            return self.k_by_regime[self.default_regime], True
        known = regime in self.k_by_regime
        return self.k_by_regime[regime if known else self.default_regime], known

    @property
    def min_interval_ms(self) -> int:
        return to_ms(self.min_interval_s)


class GuardRules(StopRules):
    """The rules for a spot position's guard stop: one multiplier `k_atr`, unless there are regimes."""

    k_atr: NonNegative = Decimal("2.0")
    k_by_regime: Regimes = FrozenMap({})
    fallback_pct: Inside = Decimal("0.05")
    liq_clearance: NonNegative = Decimal(0)

    @classmethod
    def _may_lack_regimes(cls, regimes: Mapping[str, Decimal]) -> bool:
        return not regimes

    def k_for(self, regime: str | None) -> tuple[Decimal, bool]:
        return super().k_for(regime) if self.k_by_regime else (self.k_atr, True)


class AddOn(Section):
    """The rules for adds: the j-th add is q0 x gamma^j, and all adds together are at most eta x q0."""

    roe_gate: Number = Decimal("0.3")
    cap: Count = 3
    gamma: Inside = Decimal("0.5")
    eta: NonNegative = Decimal("0.8")
    signal_ttl_s: NonNegative = Decimal(60)

    @property
    def signal_ttl_ms(self) -> int:
        return to_ms(self.signal_ttl_s)


class RiskRules(Section):
    """The liquidation buffers below which S6 reduces (`lb_min`) or closes (`lb_exit`) a position."""

    lb_min: BelowOne = Decimal("0.05")
    reduce_fraction: Share = Decimal("0.5")
    lb_exit: BelowOne = Decimal("0.02")
    cooldown_s: NonNegative = Decimal(30)
    max_reduces: Count = 3

    @field_validator("lb_exit")
    @classmethod
    def _below_lb_min(cls, lb_exit: Decimal, info: ValidationInfo) -> Decimal:
        lb_min = info.data.get("lb_min")
        if lb_min is not None and lb_exit >= lb_min:
            raise fault(f"below lb_min {lb_min}")
        return lb_exit

    @property
    def cooldown_ms(self) -> int:
        return to_ms(self.cooldown_s)


class Stagnation(Section):
    """A position stagnates after `after_s` without a new best ROE while |ROE| is below `abs_roe_below`."""

    after_s: NonNegative = Decimal(21600)
    abs_roe_below: NonNegative = Decimal("0.05")

    @property
    def after_ms(self) -> int:
        return to_ms(self.after_s)


class SpotStagnation(Stagnation):
    """`Stagnation` with spot's defaults."""

    after_s: NonNegative = Decimal(86400)
    abs_roe_below: NonNegative = Decimal("0.02")


class FutRules(Section):
    """All rules for a futures position. `add_on` None turns adds off, an empty `tp_ladder` turns profit taking off."""

    stop: StopRules = StopRules()
    tp_ladder: Ladder = ()
    add_on: AddOn | None = None
    risk: RiskRules = RiskRules()
    stagnation: Stagnation = Stagnation()

    @field_validator("risk")
    @classmethod
    def _exit_before_liquidation_stop(cls, risk: RiskRules, info: ValidationInfo) -> RiskRules:
        stop = info.data.get("stop")
        if stop is not None and stop.liq_clearance >= risk.lb_exit:
            raise fault(f"above stop.liq_clearance {stop.liq_clearance}", at=f".lb_exit = {risk.lb_exit}")
        return risk


class SpotRules(Section):
    """All rules for a spot position. S6 itself holds its guard stop."""

    guard: GuardRules = GuardRules()
    tp_ladder: Ladder = ()
    stagnation: SpotStagnation = SpotStagnation()
