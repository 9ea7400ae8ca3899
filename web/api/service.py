"""Endpoints for the service's life, health and metrics."""

from __future__ import annotations

from web.api import table
from web.endpoint import Call, Reply
from web.problems import unavailable
from web.schemas.health import Checks, Health, Sign
from web.services import lazy_services

_PATIENCE_S = 0.4


@table.add("GET", "/live", tag="service", answers={200: Sign})
def get_live(call: Call) -> Reply:
    """Whether this process serves.

    It asks nobody. A supervisor that gets no answer may restart the process.
    """
    return Reply({"status": "OK"})


@table.add("GET", "/ready", tag="service", answers={200: Sign}, problems=(503,))
def get_ready(call: Call) -> Reply:
    """Whether this process can answer for the live state.

    200 when Redis answers it, else 503 (`STATE_UNAVAILABLE`). A balancer sends requests to processes that are ready.
    Whether S6 governs is `/health`'s to say.
    """
    known = lazy_services().within(_PATIENCE_S)
    if known is None or not known.health.redis_answers():
        raise unavailable("STATE_UNAVAILABLE", "the live state (Redis) cannot be reached")
    return Reply({"status": "OK"})


@table.add("GET", "/health", tag="service", answers={200: Health, 503: Health})
def get_health(call: Call) -> Reply:
    """Whether S6 can govern.

    200 when it can (`OK`, or `DEGRADED`: a neighbour is down, say), 503 when it can't (`DOWN`).
    """
    known = lazy_services().within(_PATIENCE_S)
    report = known.health.report() if known is not None else _without_services()
    return Reply(report, 503 if report["status"] == "DOWN" else 200)


@table.add("GET", "/metrics", tag="service", answers={200: "text/plain"}, problems=(503,))
def get_metrics(call: Call) -> Reply:
    """Metrics of all processes in Prometheus' text format."""
    return Reply(call.services.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _without_services() -> dict[str, object]:
    """Return the report for the time before the services exist: building them needs an answer of a Redis Cluster."""
    unknown = {"status": "DEGRADED", "latency_ms": None, "detail": "not known without Redis"}
    redis = {"status": "DOWN", "latency_ms": None, "detail": "cannot be reached"}
    return {
        "status": "DOWN",
        "mode": "RISK_REDUCTION_ONLY",
        "checks": {name: redis if name == "redis" else unknown for name in Checks.model_fields},
        "ws_lag_ms": {},
        "manage_tick_delay_ms": None,
        "bundle_version": None,
    }
