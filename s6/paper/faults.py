"""Injects faults: latency, errors, lost answers, misbehaving results, all from one seeded RNG.

There are three layers, and `/control/faults` changes each at run time: `http` per neighbour (`s4`) or route
(`s4.cancel`), `stream` for `ord:result:*`, `exchange` for the exchange itself. Rates are probabilities. For exact tests
a *script* sets what happens to the next requests, orders, cancels, fills or results; a scripted step precedes any rate.
"""

import random
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from s6.paper.oddities import odd_figures

ROUTES: dict[str, tuple[str, ...]] = {
    "s1": ("transfer", "balances", "market", "health"),
    "s4": ("orders", "cancel", "order", "health"),
    "s10": ("active", "health"),
    "s12": ("approvals", "health"),
}
_HTTP_NAMES = {"*", *ROUTES, *(f"{base}.{route}" for base, routes in ROUTES.items() for route in routes)}
_KINDS = ("ENTRY", "SL", "TP", "ADD", "REDUCE", "EXIT", "GUARD")

HttpAction = Literal["error", "error_after", "reset_before", "reset_after", "hang_before", "hang_after"]
CancelOutcome = Literal["CANCELED", "REJECTED", "SILENT_CANCELED", "SILENT_LIVE", "FILL", "PARTIAL_FILL"]
ResultAction = Literal["duplicate", "delay", "reorder"]
Rate = Annotated[float, Field(ge=0, le=1)]
Millis = Annotated[float, Field(ge=0, le=600_000)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpFaults(_Settings):
    """Faults of a neighbour's answers.

    `reset_after`, `hang_after` and `error_after` handle the request, lose the answer.
    """

    latency_ms: Millis = 0
    jitter_ms: Millis = 0
    error_rate: Rate = 0
    error_after_rate: Rate = 0
    error_status: tuple[int, ...] = (503,)
    retry_after_s: Annotated[float, Field(ge=0)] | None = None
    reset_before_rate: Rate = 0
    reset_after_rate: Rate = 0
    hang_before_rate: Rate = 0
    hang_after_rate: Rate = 0
    hang_ms: Millis = 10_000
    down: Literal[False, "error", "refused"] = False


class StreamFaults(_Settings):
    """Faults of the result stream. A result may come late, twice, out of order or odd, but is never lost."""

    duplicate_rate: Rate = 0
    delay_rate: Rate = 0
    delay_ms: Millis = 500
    reorder_rate: Rate = 0
    lost_rate: Rate = 0
    lost_ms: Millis = 5_000
    omit_figures: bool = False
    omit_fee: bool = False
    odd_rate: Rate = 0


class ExchangeFaults(_Settings):
    """Faults of the exchange: delays, refusals, races, partial fills (`partial_parts` increments), stops it ends."""

    cancel_delay_ms: Millis = 20
    cancel_jitter_ms: Millis = 0
    cancel_reject_rate: Rate = 0
    cancel_silent_rate: Rate = 0
    cancel_silent_live_rate: Rate = 0
    fill_wins_rate: Rate = 0
    partial_fill_wins_rate: Rate = 0
    reject_rate: Rate = 0
    reject_kinds: tuple[str, ...] = _KINDS
    reject_reason: str = "REJECTED_BY_EXCHANGE"
    reject_via: Literal["http", "stream"] = "http"
    partial_rate: Rate = 0
    partial_parts: Annotated[int, Field(ge=1, le=50)] = 3
    fill_delay_ms: Millis = 0
    fill_interval_ms: Millis = 50
    maker_timeout_ms: Millis = 5_000
    expire_rate: Rate = 0
    expire_ms: Millis = 300
    overfill_status: Literal["FILLED", "EXPIRED"] = "FILLED"
    nothing_left: Literal["http", "EXPIRED", "REJECTED"] = "EXPIRED"
    auto_cancel_on_flat: bool = False


class FaultPlan(_Settings):
    """All faults in force."""

    http: dict[str, HttpFaults] = {}
    stream: StreamFaults = StreamFaults()
    exchange: ExchangeFaults = ExchangeFaults()

    @field_validator("http")
    @classmethod
    def _known_routes(cls, value: dict[str, HttpFaults]) -> dict[str, HttpFaults]:
        if unknown := set(value) - _HTTP_NAMES:
            raise ValueError(f"no such neighbour or route: {', '.join(sorted(unknown))}")
        return value


class Step(_Settings):
    """What happens to the next `count` things at one place.

    The place decides which members matter (`Faults.script`).
    """

    action: str
    count: Annotated[int, Field(ge=1)] = 1
    status: int = 503
    retry_after_s: float | None = None
    reason: str = "REJECTED_BY_EXCHANGE"
    via: Literal["http", "stream"] = "http"
    ms: Millis | None = None
    parts: Annotated[int, Field(ge=1, le=50)] = 2


_ACTIONS: dict[str, tuple[str, ...]] = {
    "http": ("pass", "error", "error_after", "reset_before", "reset_after", "hang_before", "hang_after", "latency"),
    "order": ("pass", "reject"),
    "cancel": ("pass", "CANCELED", "REJECTED", "SILENT_CANCELED", "SILENT_LIVE", "FILL", "PARTIAL_FILL"),
    "fill": ("pass", "parts"),
    "result": ("pass", "duplicate", "delay", "reorder"),
    "transfer": ("pass", "fail"),
}


@dataclass(frozen=True, slots=True)
class HttpVerdict:
    """The fault of one request. Without an `action` it is handled and answered."""

    latency_ms: float = 0
    action: HttpAction | None = None
    status: int = 503
    retry_after_s: float | None = None
    hang_ms: float = 10_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """The exchange refuses an order with `reason`, by 422 or by a REJECTED result."""

    reason: str
    via: Literal["http", "stream"]


class Faults:
    """The plan in force and the scripts. The paper services ask it before they act. Thread-safe."""

    def __init__(self, plan: FaultPlan | None = None, *, seed: int = 0) -> None:
        self._calm = self.plan = plan or FaultPlan()
        self._random = random.Random(seed)
        self._scripts: dict[str, deque[Step]] = {}
        self._lock = threading.Lock()

    def merge(self, change: dict[str, object]) -> FaultPlan:
        """Merge `change` into the plan, member by member.

        Raises `ValueError`, and changes nothing, if it is invalid.
        """
        with self._lock:
            self.plan = FaultPlan.model_validate(_overlay(self.plan.model_dump(exclude_unset=True), change))
            return self.plan

    def clear(self) -> None:
        """Restore the initial plan and remove all scripts."""
        with self._lock:
            self.plan = self._calm
            self._scripts.clear()

    def script(self, place: str, step: Step) -> None:
        """Queue `step` at `place`.

        Places: a route (`s4.orders`), `order[:KIND]`, `cancel[:KIND]`, `fill[:KIND]`, `result[:KIND[:STATUS]]`,
        `transfer`. Raises `ValueError` for an unknown place or an action that does not go with it.
        """
        family = "http" if place in _HTTP_NAMES else place.split(":", 1)[0]
        if family not in _ACTIONS or (":" in place and place.split(":")[1] not in _KINDS):
            raise ValueError(f"no such place: {place}")
        if step.action not in _ACTIONS[family]:
            raise ValueError(f"{place} takes one of: {', '.join(_ACTIONS[family])}")
        with self._lock:
            self._scripts.setdefault(place, deque()).extend([step] * step.count)

    def pending(self) -> dict[str, int]:
        """Return the number of scripted steps left at each place."""
        with self._lock:
            return {place: len(steps) for place, steps in self._scripts.items() if steps}

    def http(self, route: str) -> HttpVerdict:
        """Return the verdict for one request of `route` (`s4.orders`)."""
        base = route.split(".")[0]
        rules = self.plan.http.get(route) or self.plan.http.get(base) or self.plan.http.get("*") or HttpFaults()
        latency = rules.latency_ms + self._random.uniform(0, rules.jitter_ms)
        if step := self._scripted(route, base, "*"):
            return _scripted_verdict(step, latency)
        if rules.down:
            action: HttpAction = "error" if rules.down == "error" else "reset_before"
            return HttpVerdict(latency, action, 503, rules.retry_after_s, rules.hang_ms)
        status = self._random.choice(rules.error_status) if rules.error_status else 503
        return HttpVerdict(latency, self._http_action(rules), status, rules.retry_after_s, rules.hang_ms)

    def order(self, kind: str) -> Refusal | None:
        """Return the refusal of an otherwise good order, or None to accept it."""
        if step := self._scripted(f"order:{kind}", "order"):
            return Refusal(step.reason, step.via) if step.action == "reject" else None
        rules = self.plan.exchange
        if kind in rules.reject_kinds and self._chance(rules.reject_rate):
            return Refusal(rules.reject_reason, rules.reject_via)
        return None

    def cancel(self, kind: str) -> tuple[float, CancelOutcome]:
        """Return the delay (ms) and the outcome of a cancel."""
        rules = self.plan.exchange
        delay = rules.cancel_delay_ms + self._random.uniform(0, rules.cancel_jitter_ms)
        if step := self._scripted(f"cancel:{kind}", "cancel"):
            outcome: CancelOutcome = "CANCELED" if step.action == "pass" else step.action  # type: ignore[assignment]
            return (delay if step.ms is None else step.ms), outcome
        by_rate: tuple[tuple[float, CancelOutcome], ...] = (
            (rules.cancel_reject_rate, "REJECTED"),
            (rules.cancel_silent_rate, "SILENT_CANCELED"),
            (rules.cancel_silent_live_rate, "SILENT_LIVE"),
            (rules.fill_wins_rate, "FILL"),
            (rules.partial_fill_wins_rate, "PARTIAL_FILL"),
        )
        return delay, next((outcome for rate, outcome in by_rate if self._chance(rate)), "CANCELED")

    def fill_parts(self, kind: str) -> int:
        """Return the number of increments in which an order is filled."""
        if step := self._scripted(f"fill:{kind}", "fill"):
            return step.parts if step.action == "parts" else 1
        rules = self.plan.exchange
        return rules.partial_parts if self._chance(rules.partial_rate) else 1

    def result(self, kind: str, status: str) -> tuple[ResultAction | None, float]:
        """Return the fault of one result on its way to the stream, or None, and its delay (ms)."""
        rules = self.plan.stream
        if step := self._scripted(f"result:{kind}:{status}", f"result:{kind}", "result"):
            if step.action == "pass":
                return None, 0
            return step.action, rules.delay_ms if step.ms is None else step.ms  # type: ignore[return-value]
        if self._chance(rules.lost_rate):
            return "delay", rules.lost_ms
        if self._chance(rules.delay_rate):
            return "delay", self._random.uniform(0, rules.delay_ms)
        if self._chance(rules.reorder_rate):
            return "reorder", rules.delay_ms
        return ("duplicate", 0) if self._chance(rules.duplicate_rate) else (None, 0)

    def odd(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return a result's fields as the stream shows them: with odd figures when bad luck has it so."""
        return odd_figures(fields, self._random) if self._chance(self.plan.stream.odd_rate) else dict(fields)

    def expiry_ms(self) -> float | None:
        """Return after how many ms the exchange ends a stop that it has just taken, or None if it lets it be."""
        rules = self.plan.exchange
        return rules.expire_ms if self._chance(rules.expire_rate) else None

    def transfer(self) -> str | None:
        """Return the reason why a transfer fails, or None if it succeeds."""
        step = self._scripted("transfer")
        return step.reason if step and step.action == "fail" else None

    def _http_action(self, rules: HttpFaults) -> HttpAction | None:
        by_rate: tuple[tuple[float, HttpAction], ...] = (
            (rules.error_rate, "error"),
            (rules.error_after_rate, "error_after"),
            (rules.reset_before_rate, "reset_before"),
            (rules.reset_after_rate, "reset_after"),
            (rules.hang_before_rate, "hang_before"),
            (rules.hang_after_rate, "hang_after"),
        )
        return next((action for rate, action in by_rate if self._chance(rate)), None)

    def _chance(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate

    def _scripted(self, *places: str) -> Step | None:
        with self._lock:
            for place in places:
                if steps := self._scripts.get(place):
                    return steps.popleft()
        return None


def _scripted_verdict(step: Step, latency: float) -> HttpVerdict:
    if step.action == "pass":
        return HttpVerdict(latency)
    if step.action == "latency":
        return HttpVerdict(step.ms or 0)
    hang = 10_000 if step.ms is None else step.ms
    return HttpVerdict(latency, step.action, step.status, step.retry_after_s, hang)  # type: ignore[arg-type]


def _overlay(below: dict[str, object], above: dict[str, object]) -> dict[str, object]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _overlay(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
