"""What S4 and the result stream do to S6, one spell after the other: every way of failing that the contract knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CLOSING: Final = ("EXIT", "GUARD", "TP", "REDUCE")

Layers = dict[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Spell:
    """Faults that last for a while. ``outage``: S4 or the stream gives nothing at all, so everybody is disturbed."""

    name: str
    layers: Layers
    outage: bool = False


def _s4(**rates: object) -> Layers:
    return {"http": {"s4": rates}}


SPELLS: Final = (
    Spell("calm", {}),
    Spell("slow", _s4(latency_ms=100, jitter_ms=400)),
    Spell("503 before", _s4(error_rate=0.4)),
    Spell("503 after", _s4(error_after_rate=0.4)),
    Spell("429", _s4(error_rate=0.3, error_status=[429], retry_after_s=1)),
    Spell("connections break before", _s4(reset_before_rate=0.4)),
    Spell("answers lost", _s4(reset_after_rate=0.4)),
    Spell("hangs", _s4(hang_after_rate=0.1, hang_before_rate=0.1, hang_ms=3_500), outage=True),
    Spell("refused", _s4(down="refused"), outage=True),
    Spell("down", _s4(down="error"), outage=True),
    Spell("cancel silent", {"exchange": {"cancel_silent_rate": 0.3, "cancel_silent_live_rate": 0.2}}),
    Spell("cancel rejected", {"exchange": {"cancel_reject_rate": 0.5}}),
    Spell("fill wins", {"exchange": {"fill_wins_rate": 0.3, "partial_fill_wins_rate": 0.3}}),
    Spell("partial fills", {"exchange": {"partial_rate": 0.7, "fill_interval_ms": 100, "fill_delay_ms": 50}}),
    Spell("refusals", {"exchange": {"reject_rate": 0.3}}),
    Spell("refusals on the stream", {"exchange": {"reject_rate": 0.3, "reject_via": "stream"}}),
    Spell(
        "would trigger", {"exchange": {"reject_rate": 0.2, "reject_reason": "WOULD_TRIGGER", "reject_kinds": ["SL"]}}
    ),
    Spell("twice", {"stream": {"duplicate_rate": 0.5}}),
    Spell("late and in disorder", {"stream": {"delay_rate": 0.3, "delay_ms": 800, "reorder_rate": 0.3}}),
    Spell("results missing for long", {"stream": {"lost_rate": 0.15, "lost_ms": 4_000}}),
    Spell("no fees told", {"stream": {"omit_fee": True}}),
    Spell("odd figures", {"stream": {"odd_rate": 0.5}}),
    Spell("ingress 404", {"http": {"s4.orders": {"error_rate": 0.7, "error_status": [404, 403]}}}, outage=True),
    Spell("nothing may close", {"exchange": {"reject_rate": 1, "reject_kinds": list(CLOSING)}}, outage=True),
    Spell("stops expire", {"exchange": {"expire_rate": 0.5}}, outage=True),
)
