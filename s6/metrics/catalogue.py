"""The catalogue of S6's metrics: kind, labels, buckets and help of each (docs/metrics.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
CALL: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0)
#: The buckets are fine around the objective: 95 in 100 operations within 0.8 s.
EXEC: Final = (
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.4,
    0.5,
    0.6,
    0.7,
    0.8,
    0.9,
    1.0,
    1.25,
    1.5,
    2.0,
    3.0,
    5.0,
    10.0,
)
LONG: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``seeds`` are the values of its only label that show 0 before the first event."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    seeds: tuple[str, ...] = ()


_METRICS: Final = (
    Metric("s6_stop_move_total", "counter", "Stop moves ended, by outcome", ("outcome",), seeds=("success",)),
    Metric("s6_tp_partial_total", "counter", "Take-profits ended, by outcome", ("outcome",), seeds=("success",)),
    Metric("s6_exec_seconds", "histogram", "From the decision to S4's acceptance", ("kind",), EXEC),
    Metric(
        "s6_unprotected_seconds", "histogram", "Time without a stop for the whole quantity, after the first", (), LONG
    ),
    Metric("s6_first_stop_seconds", "histogram", "Time from a position's first fill to its first stop", (), LONG),
    Metric("s6_reaction_seconds", "histogram", "From a market tick read to the order sent", (), FAST),
    Metric("s6_sweep_seconds", "histogram", "Duration of a sweep", (), LONG),
    Metric("s6_maker_wait_timeout_total", "counter", "Maker orders that timed out (MAKER_TIMEOUT)"),
    Metric(
        "s6_treasury_transfer_total",
        "counter",
        "Treasury transfers ended, by outcome",
        ("outcome",),
        seeds=("executed", "failed", "rejected", "expired"),
    ),
    Metric("s6_alerts_total", "counter", "Alerts raised", ("severity", "code")),
    Metric("s6_deadletter_total", "counter", "Malformed messages in the dead letters", ("source",)),
    Metric("s6_stagnated_positions", "gauge", "Open positions that stagnate"),
    Metric("s6_open_positions", "gauge", "Open positions"),
    Metric("s6_sweep_positions", "gauge", "Positions that the last sweep looked at"),
    Metric("s6_mode", "gauge", "1 for the mode in force", ("mode",), seeds=("NORMAL", "RISK_REDUCTION_ONLY")),
    Metric("s6_neighbour_seconds", "histogram", "Calls to neighbours", ("neighbour", "outcome"), CALL),
    Metric("s6_neighbour_up", "gauge", "1 while the neighbour counts as healthy", ("neighbour",)),
    Metric("s6_metrics_lost_total", "counter", "Samples that could not be written to Redis"),
)

METRICS: Final = {metric.name: metric for metric in _METRICS}
