"""Small stand-ins for ports, where a test is about something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from s6.model.commit import Alert
from s6.model.types import Severity


@dataclass
class ManualClock:
    """Stands still until it is moved, or set back."""

    now: int = 1_700_000_000_000
    behind_ms: int = 0

    def now_ms(self) -> int:
        return self.now

    def steady_ms(self) -> int:
        return self.now + self.behind_ms

    def set_back(self, ms: int) -> None:
        self.now -= ms
        self.behind_ms += ms


@dataclass
class MemoryMetrics:
    """Remembers every sample: (verb, name, value, labels)."""

    samples: list[tuple[str, str, float, dict[str, str]]] = field(default_factory=list)

    def inc(self, name: str, value: float = 1, **labels: str) -> None:
        self.samples.append(("inc", name, value, labels))

    def observe(self, name: str, value: float, **labels: str) -> None:
        self.samples.append(("observe", name, value, labels))

    def set(self, name: str, value: float, **labels: str) -> None:
        self.samples.append(("set", name, value, labels))

    def observed(self, name: str) -> list[float]:
        """The values that a histogram was given."""
        return [value for verb, known, value, _ in self.samples if (verb, known) == ("observe", name)]


@dataclass
class MemoryBreaker:
    """A breaker in memory: what was reported to it, and whether it says down."""

    down: bool = False
    ok: list[str] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)

    def is_down(self, name: str) -> bool:
        return self.down

    def succeeded(self, name: str, latency_ms: int) -> None:
        self.ok.append(name)

    def failed(self, name: str, detail: str) -> None:
        self.bad.append((name, detail))


@dataclass
class MemoryAlerts:
    """Remembers alerts: (severity, code, detail, position_id), and dead letters."""

    raised: list[tuple[Severity, str, str, str]] = field(default_factory=list)
    letters: list[tuple[str, str, str, object]] = field(default_factory=list)
    delivered: dict[str, Alert] = field(default_factory=dict)
    acks: dict[str, dict[str, str]] = field(default_factory=dict)

    def raise_alert(
        self, severity: Severity, code: str, detail: str, *, position_id: str = "", scope: str = ""
    ) -> None:
        self.raised.append((severity, code, detail, position_id))

    def deliver(self, alert: Alert) -> None:
        if self.delivered.setdefault(alert.alert_id, alert) is alert:
            self.raised.append((alert.severity, alert.code, alert.detail, alert.position_id))

    def dead_letter(self, source: str, entry_id: str, error: str, payload: Mapping[str, str] | str) -> None:
        self.letters.append((source, entry_id, error, payload))

    def get(self, alert_id: str) -> dict[str, object] | None:
        alert = self.delivered.get(alert_id)
        return None if alert is None else {**asdict(alert), "ack": self.acks.get(alert_id)}

    def ack(self, alert_id: str, *, by: str, note: str = "") -> dict[str, object] | None:
        if alert_id in self.delivered:
            self.acks.setdefault(alert_id, {"by": by, "note": note})
        return self.get(alert_id)
