"""The small parts around the core: alerts, metrics, the gate, bundles, and the queue that hints go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from s6.bootstrap import Services
from s6.engine.evaluation import Evaluation
from s6.engine.executor import Progress
from s6.model import jsonx
from s6.model.bundle import ActiveBundle, parse_bundle
from s6.model.commit import Alert
from s6.model.market import MarketView
from s6.model.operation import Operation
from s6.model.types import Market, Severity
from s6.ports import NeighbourUnavailable, StateUnavailable
from s6.store import StoreError
from tests.simulation.faults import Faults
from tests.simulation.kernel import Kernel

RETRIES: Final = 4


def _bundle(
    version: str,
    anchor: str,
    move_bps: int,
    interval_s: int,
    adds: int = 2,
    budget: int | None = None,
    eta: str = "0.8",
    step: str = "0.001",
    symbol: str = "BTCUSDT",
    ladder: tuple[tuple[str, str], ...] = (("0.06", "0.33"), ("0.15", "0.5")),
) -> ActiveBundle:
    spec = {"tick": "0.1", "step": step, "min_qty": "0.001", "min_notional": "5", "mmr": "0.004"}
    document = {
        "version": version,
        "fut": {
            "stop": {
                "k_by_regime": {"LOW": "1.5", "NORMAL": "2", "HIGH": "3"},
                "anchor": anchor,
                "min_move_bps": move_bps,
                "min_interval_s": interval_s,
                "lock_steps": [
                    {"roe": "0.05", "lock_roe": "0.01"},
                    {"roe": "0.1", "lock_roe": "0.05"},
                    {"roe": "0.2", "lock_roe": "0.12"},
                ],
            },
            "tp_ladder": [{"roe": roe, "fraction": fraction} for roe, fraction in ladder],
            "add_on": {"roe_gate": "0.03", "cap": 2, "gamma": "0.5", "eta": eta, "signal_ttl_s": 60},
            "risk": {"lb_min": "0.085", "lb_exit": "0.06", "cooldown_s": 5, "max_reduces": 2},
            "stagnation": {"after_s": 15, "abs_roe_below": "0.05"},
        },
        "spot": {
            "guard": {"k_atr": "2", "fallback_pct": "0.01", "lock_steps": [{"roe": "0.01", "lock_roe": "0.003"}]},
            "tp_ladder": [{"roe": "0.008", "fraction": "0.5"}],
            "stagnation": {"after_s": 15, "abs_roe_below": "0.02"},
        },
        "symbols": {symbol: spec, "ETHUSDT": spec},
        "limits": {"adds_in_flight": adds, "fut_budget": budget},
        "treasury": {"mode": "SEMI", "cooldown_s": 5, "max_transfer": 150},
        "execution": {"cancel_wait_ms": 1000, "breach_grace_ms": 1000, "retry": {"attempts": RETRIES, "cap_ms": 2000}},
    }
    return parse_bundle(jsonx.dumps(document))


BUNDLES = (
    _bundle("b-1", "ENTRY", 0, 0),
    _bundle("b-2", "BEST", 0, 0),
    _bundle("b-3", "BEST", 10, 2),
    _bundle("b-4", "BEST", 5, 1, adds=1, budget=400, eta="0.6"),
)
#: The first bundle as it changes under open positions, by ``Profile.terms``.
CHANGED: Final = {
    "GONE": _bundle("b-gone", "ENTRY", 0, 0, symbol="SOLUSDT"),
    "STEP": _bundle("b-step", "ENTRY", 0, 0, step="5"),
    "LADDER": _bundle("b-ladder", "ENTRY", 0, 0, ladder=(("0.03", "0.1"), ("0.06", "0.33"), ("0.15", "0.5"))),
}


class SimBundles:
    """The bundle in force, swapped at will; ``ever`` are all that were and named the symbol. ``since`` is when the one
    in force came."""

    def __init__(self, first: ActiveBundle) -> None:
        self.bundle = first
        self.ever = [first]
        self.since = 0

    def put(self, bundle: ActiveBundle, now: int) -> None:
        self.bundle, self.since = bundle, now
        if "BTCUSDT" in bundle.symbols:
            self.ever.append(bundle)

    def current(self) -> ActiveBundle | None:
        return self.bundle

    @property
    def latest(self) -> ActiveBundle | None:
        return self.bundle


class SimAlerts:
    """Alerts as they were told; a FATAL one stands until it is acknowledged."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.told: list[tuple[str, str, str]] = []
        self.dead_letters: list[str] = []
        self.standing = 0
        self._delivered: dict[str, Alert] = {}

    def raise_alert(
        self, severity: Severity, code: str, detail: str, *, position_id: str = "", scope: str = ""
    ) -> None:
        self._kernel.note(f"    alert {severity} {code} {position_id}: {detail}")
        self.told.append((severity, code, position_id))
        self.standing += severity == "FATAL"

    def deliver(self, alert: Alert) -> None:
        known = self._delivered.setdefault(alert.alert_id, alert)
        assert known == alert, f"two alerts bear one id: {known} {alert}"
        if known is alert:
            self.raise_alert(alert.severity, alert.code, alert.detail, position_id=alert.position_id)

    def restore_standing(self) -> int:
        """The book itself survives here."""
        return 0

    def dead_letter(self, source: str, entry_id: str, error: str, payload: Mapping[str, str]) -> None:
        self._kernel.note(f"    dead letter from {source}: {error}: {dict(payload)}")
        self.dead_letters.append(error)


class SimMetrics:
    """Counts nothing."""

    def inc(self, name: str, value: float = 1, **labels: str) -> None:
        return

    def observe(self, name: str, value: float, **labels: str) -> None:
        return

    def set(self, name: str, value: float, **labels: str) -> None:
        return


class SimGate:
    """Whether new risk may be taken, by what the simulation knows."""

    def __init__(self, faults: Faults, alerts: SimAlerts, bundles: SimBundles) -> None:
        self._faults, self._alerts, self._bundles = faults, alerts, bundles

    def mode(self, market: Market, view: MarketView, now: int, *, fresh: bool = False) -> str:
        stale = view.tick is None or now - view.tick.ts > self._bundles.bundle.health.market_stale_ms
        bad = stale or self._alerts.standing or self._faults.is_down("s4")
        return "RISK_REDUCTION_ONLY" if bad else "NORMAL"


class SimHints:
    """Celery as far as S6 leans on it: tasks lost, doubled or late, with the retries of ``tasks/``."""

    def __init__(self, kernel: Kernel, faults: Faults) -> None:
        self._kernel, self._rng, self._faults = kernel, kernel.rng, faults
        self.services: Services

    def _post(self, label: str, task: Callable[[], None], delay_ms: int = 0) -> None:
        profile, rng = self._faults.profile, self._rng
        times = 1
        if label.endswith("(retry)"):  # one message begets one
            self._kernel.at(delay_ms + 1, label, task, "worker", partial(self._died, label, task))
            return
        if rng.random() < profile.lose_hint:
            self._kernel.note(f"    hint lost: {label}")
            self._faults.disturb(0)
            return
        if rng.random() < profile.double_hint:
            times = 2
        for _ in range(times):
            wait = delay_ms + rng.randint(1, 8)
            if rng.random() < profile.late_hint:
                late = rng.randint(50, 3_000)
                self._faults.disturb(late)
                wait += late
            self._kernel.at(wait, label, task, "worker", partial(self._died, label, task))

    def _died(self, label: str, task: Callable[[], None]) -> None:
        """An unacknowledged message comes back, or was popped and not yet noted: then it is gone."""
        if self._rng.random() < 0.5:
            self._kernel.at(self._rng.randint(500, 5_000), f"{label} (again)", task, "worker")

    def evaluate(self, position_id: str, *, delay_ms: int = 0, attempt: int = 0) -> None:
        self._post(f"evaluate {position_id}", lambda: self._evaluate(position_id, attempt), delay_ms)

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        for position_id in position_ids:
            self.evaluate(position_id)

    def protect(self, position_id: str) -> None:
        self.evaluate(position_id)

    def waiting(self) -> int | None:
        return 0

    def execute(self, position_id: str, op: Operation) -> None:
        links = ("cancel", "await", "place") if op.stage == "CANCEL" else ("place",)
        self._link(position_id, op.op_id, links)

    def resume(self, position_id: str, op: Operation) -> None:
        self._link(position_id, op.op_id, ("place",))

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        self._post(f"advance {transfer_id}", lambda: self._advance_transfer(transfer_id, 0), delay_ms)

    def _evaluate(self, position_id: str, attempt: int) -> None:
        known = self.services
        evaluation = Evaluation(known.governor, known.executor, known.reconciler)
        try:
            known.hints.begin(position_id)
            kind = "BUSY" if evaluation.run(position_id, self._carry_on) else "DONE"
        except (StateUnavailable, NeighbourUnavailable) as error:
            self._kernel.note(f"    not evaluated: {error}")
            kind = "BUSY"
        self._kernel.note(f"    {kind}")
        if kind == "BUSY" and attempt < 10:
            wait = int(min(30 * 2**attempt, 1_000) * (0.5 + self._rng.random() / 2))
            self.services.hints.evaluate(position_id, delay_ms=wait, attempt=attempt + 1)

    def _carry_on(self, position_id: str, op: Operation, progress: Progress) -> None:
        if progress.stage == "AWAIT_CANCEL":
            self._link(position_id, op.op_id, ("await", "place"), 500)
        else:
            self._link(position_id, op.op_id, ("place",), min(progress.wait_ms, 30_000))

    def _link(
        self, position_id: str, op_id: str, links: tuple[str, ...], delay_ms: int = 0, retry: bool = False
    ) -> None:
        label = f"{links[0]} {position_id} {op_id}{' (retry)' if retry else ''}"
        self._post(label, lambda: self._advance(position_id, op_id, links), delay_ms)

    def _advance(self, position_id: str, op_id: str, links: tuple[str, ...]) -> None:
        try:
            progress = self.services.executor.advance(position_id, op_id)
        except StateUnavailable as error:
            self._kernel.note(f"    not advanced: {error}")
            progress = Progress("WAIT", 500)
        self._kernel.note(f"    {progress.kind} {progress.wait_ms or ''} {progress.stage}".rstrip())
        ready = progress.kind == "DONE" or (links[0] == "cancel" and progress.stage == "AWAIT_CANCEL")
        if not ready:
            wait = min(progress.wait_ms, 5_000) + self._rng.randint(20, 40)
            self._link(position_id, op_id, links, wait, retry=True)
        elif len(links) > 1 and links[0] != "await":  # after a wait that is over all is placed already
            self._link(position_id, op_id, links[1:], 500 if links[0] == "cancel" else 0)

    def _advance_transfer(self, transfer_id: str, retries: int) -> None:
        try:
            outcome = self.services.treasury.advance(transfer_id)
        except StoreError as error:
            self._kernel.note(f"    {error}")
            return
        self._kernel.note(f"    {outcome.kind}")
        if outcome.delay_ms is not None and retries < 6 and outcome.delay_ms <= 30_000:
            again = partial(self._advance_transfer, transfer_id, retries + 1)
            self._post(f"advance {transfer_id} (retry)", again, outcome.delay_ms)
