"""What a commit shows that people must be told, seen from the outside: the position before it and after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from tests.doubles.memory_redis import Written
from tests.simulation.parts import RETRIES

#: Stop moves that fail in a row before people hear of it.
FAILURES: Final = 3


def alarming(before: Written, after: Written) -> Iterator[tuple[str, str]]:
    """Severity and code of each alert that must be told. Not all that may be: see what S6 says besides."""
    yield from _of_the_operation(before.op, after.op)
    if _number(before.state, "sl_failures") < _number(after.state, "sl_failures") >= FAILURES:
        yield "ERROR", "STOP_MOVE_FAILED"
    if before.state["exit_reason"] != "STOP_REFUSED" == after.state["exit_reason"]:
        yield "FATAL", "STOP_MOVE_FAILED"
    if after.state["status"] == "OPEN":
        for name in after.orders:
            yield from _of_an_order(before.orders.get(name, "{}"), after.orders[name])


def _of_the_operation(before: dict[str, str], after: dict[str, str]) -> Iterator[tuple[str, str]]:
    if not after or before.get("op_id") != after["op_id"]:
        return
    if _number(before, "attempts") < _number(after, "attempts") == RETRIES:
        yield "ERROR", "RETRIES_EXHAUSTED"
    if _number(before, "refusals") < _number(after, "refusals"):
        yield "WARN", "STOP_REFUSED"


def _of_an_order(before: str, after: str) -> Iterator[tuple[str, str]]:
    """A market order of S6's own that was refused."""
    if before == after:
        return
    was, order = json.loads(before), json.loads(after)
    if order["status"] != "REJECTED" or was.get("status") == "REJECTED" or order["ours"] != "true":
        return
    if order["kind"] in ("EXIT", "GUARD"):
        yield "ERROR", "EXIT_REFUSED"
    elif order["kind"] != "SL":
        yield "WARN", "ORDER_REFUSED"


def _number(fields: dict[str, str], name: str) -> int:
    return int(fields.get(name, "0"))
