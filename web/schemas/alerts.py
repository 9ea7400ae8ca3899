"""Models for reading and acknowledging alerts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from s6.model.types import Severity
from web.schemas.fields import Answer, Body, Name, Paged, Text, Ts


class AlertsQuery(Paged):
    """The filters of the list of alerts."""

    severity: Severity | None = None
    standing: Annotated[
        bool | None, Field(description="Only (or all but) the FATAL ones that nobody has acknowledged.")
    ] = None


class AckRequest(Body):
    """An acknowledgement, and its author."""

    by: Name
    note: Text = ""


class Alert(Answer):
    """An alert for people. A FATAL alert stands until it is acknowledged."""

    alert_id: str
    ts: Ts
    severity: Severity
    code: str
    detail: str
