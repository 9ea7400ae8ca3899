"""What a commit shows that people must be told, seen from the outside: the position before it and after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.doubles.memory_redis import Written
from tests.simulation.parts import RETRIES

#: Stop moves that fail in a row before people hear of it.
FAILURES: Final = 3


def alarming(before: Written, after: Written) -> Iterator[tuple[str, str]]:
    """Yield severity and code of each alert that must be raised. S6 may raise others besides."""
    yield from _of_the_operation(before.op, after.op)
    was, now = before.state, after.state
    if _number(was, "sl_failures") < _number(now, "sl_failures") >= FAILURES:
        yield "ERROR", "STOP_MOVE_FAILED"
    for reason in ("STOP_REFUSED", "STOP_LOST"):
        if was["exit_reason"] != reason == now["exit_reason"]:
            yield "FATAL", "STOP_MOVE_FAILED"
    for name in ("exit_refusals", "hold_refusals", "trail_refusals"):
        if _number(was, name) < _number(now, name) == RETRIES:
            yield "ERROR", "ORDER_REFUSED"
    if _number(was, "sl_losses") < _number(now, "sl_losses") < RETRIES:
        yield "WARN", "STOP_LOST"
    if was.get("missing_told") != "true" == now["missing_told"]:
        yield "ERROR", "POSITION_MISSING"


def _of_the_operation(before: dict[str, str], after: dict[str, str]) -> Iterator[tuple[str, str]]:
    if not after or before.get("op_id") != after["op_id"]:
        return
    if _number(before, "attempts") < _number(after, "attempts") == RETRIES:
        yield "ERROR", "RETRIES_EXHAUSTED"
    if before.get("fatal") != "true" == after["fatal"]:
        yield "FATAL", "RETRIES_EXHAUSTED"
    if _number(before, "refusals") < _number(after, "refusals"):
        yield "WARN", "STOP_REFUSED"


def _number(fields: dict[str, str], name: str) -> int:
    return int(fields.get(name, "0"))
