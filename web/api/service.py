"""The service itself: its health and its metrics."""

from __future__ import annotations

from web.api import table
from web.endpoint import Call, Reply
from web.schemas.health import Health


@table.add("GET", "/health", tag="service", answers={200: Health, 503: Health})
def get_health(call: Call) -> Reply:
    """Whether S6 can govern.

    200 when it can (`OK`, or `DEGRADED`: a neighbour is down, say), 503 when it can't (`DOWN`).
    """
    report = call.house.health()
    return Reply(report, 503 if report["status"] == "DOWN" else 200)


@table.add("GET", "/metrics", tag="service", answers={200: "text/plain"}, problems=(503,))
def get_metrics(call: Call) -> Reply:
    """Metrics in Prometheus' text format, true across all processes."""
    return Reply(call.house.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")
