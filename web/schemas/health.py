"""Models of health and errors."""

from __future__ import annotations

from typing import Literal

from s6.model.types import Mode
from web.schemas.fields import Answer, Number

CheckStatus = Literal["OK", "DEGRADED", "DOWN"]


class Sign(Answer):
    """The answer is the sign."""

    status: Literal["OK"]


class Check(Answer):
    """The check of one dependency of S6. `detail` is optional."""

    status: CheckStatus
    latency_ms: Number | None


class Checks(Answer):
    """The checks of all dependencies of S6."""

    redis: Check
    broker: Check
    store: Check
    worker: Check
    listener: Check
    beat: Check
    s1: Check
    s4: Check
    s10: Check
    s12: Check


class Health(Answer):
    """Whether S6 can govern."""

    status: CheckStatus
    mode: Mode
    checks: Checks
    ws_lag_ms: dict[str, Number]
    manage_tick_delay_ms: Number | None
    bundle_version: str | None


class ProblemDocument(Answer):
    """An error (RFC 9457). `code` is a stable word for programs; with 422, `errors` names each field."""

    type: str
    title: str
    status: int
    detail: str
    code: str
