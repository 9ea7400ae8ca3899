"""Drives operations. STOP_MOVE is ``cancel_stop -> await_cancel -> place_stop``. Each link takes the operation as far
as it goes, and does nothing where another has been: the record's stage decides, not the message.

The task that decided takes the first step itself, because the trip through the broker costs much of a move.
"""

from __future__ import annotations

import random
from typing import Any

from s6.engine.executor import Progress
from s6.ports import StateUnavailable
from tasks.base import services, task
from tasks.scheduling import priority

NUDGE_S = 0.02
LONGEST_S = 5.0
RETRIES = 200


def _again(self: Any, wait_ms: int) -> Exception:
    """Return Celery's retry, sub-second and jittered (``retry_backoff`` counts whole seconds)."""
    countdown = min(wait_ms / 1000, LONGEST_S) + random.uniform(NUDGE_S, 2 * NUDGE_S)
    return self.retry(countdown=countdown, max_retries=RETRIES)  # type: ignore[no-any-return]


def _step(position_id: str, op_id: str) -> Progress:
    with priority.step():
        return services().executor.advance(position_id, op_id)


def _advance(self: Any, position_id: str, op_id: str) -> Progress:
    try:
        return _step(position_id, op_id)
    except StateUnavailable as error:
        raise _again(self, 500) from error


@task(bind=True)
def cancel_stop(self: Any, position_id: str, op_id: str) -> None:
    """Ask S4 to cancel the old stop. Once asked, the wait is the next link's."""
    progress = _advance(self, position_id, op_id)
    if progress.kind != "DONE" and progress.stage != "AWAIT_CANCEL":
        raise _again(self, progress.wait_ms)


@task(bind=True)
def await_cancel(self: Any, position_id: str, op_id: str) -> None:
    """Look again when the wait is over. The result from the stream normally comes first and wakes ``place_stop``."""
    progress = _advance(self, position_id, op_id)
    if progress.kind != "DONE":
        raise _again(self, progress.wait_ms)
    self.request.chain = None  # placed already: nothing is left for the last link


@task(bind=True)
def place_stop(self: Any, position_id: str, op_id: str) -> None:
    """Place the new stop, as soon as the old one is known to be canceled."""
    progress = _advance(self, position_id, op_id)
    if progress.kind != "DONE":
        raise _again(self, progress.wait_ms)


@task(bind=True)
def place_order(self: Any, position_id: str, op_id: str) -> None:
    """Send the order of an operation that has nothing to cancel, or clean up after a close."""
    progress = _advance(self, position_id, op_id)
    if progress.kind != "DONE":
        raise _again(self, progress.wait_ms)
