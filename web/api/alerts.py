"""Endpoints for reading and acknowledging alerts."""

from __future__ import annotations

from s6.store import StoreRefused
from web.api import table
from web.api.positions import bad_cursor
from web.endpoint import Call, Reply
from web.problems import not_found
from web.schemas.alerts import AckRequest, Alert, AlertsQuery
from web.schemas.fields import Page


@table.add("GET", "/alerts", tag="alerts", scope="read", answers={200: Page[Alert]}, problems=(503,))
def list_alerts(call: Call, query: AlertsQuery) -> Reply:
    """Alerts, newest first."""
    try:
        page = call.services.alerts.page(
            limit=query.limit, cursor=query.cursor, severity=query.severity, standing=query.standing
        )
    except StoreRefused:
        raise bad_cursor() from None
    return Reply({"items": page.items, "next_cursor": page.next_cursor})


@table.add("POST", "/alerts/<alert_id>/ack", tag="alerts", scope="ops", answers={200: Alert}, problems=(404, 503))
def acknowledge_alert(call: Call, alert_id: str, body: AckRequest) -> Reply:
    """Acknowledge an alert.

    A FATAL alert then stands no longer, and S6 may take new risk again. Acknowledging twice changes nothing. The
    acknowledgement of a position's alert also appears in the position's timeline.
    """
    alert = call.services.commands.acknowledge(alert_id, by=body.by, note=body.note)
    if alert is None:
        raise not_found(f"there is no alert {alert_id[:80]}")
    return Reply(alert)
