"""Evaluate positions: one on a hint, all of them by the sweep."""

from __future__ import annotations

import random
from typing import Any

from s6.ports import NeighbourUnavailable, StateUnavailable
from tasks.base import house, task
from tasks.execution import begin
from tasks.turns import turns

BUSY_S = 0.03
RETRIES = 10


def _again(self: Any) -> Exception:
    """Sub-second at first, doubling to a second, jittered."""
    countdown = min(BUSY_S * 2**self.request.retries, 1.0) * random.uniform(0.5, 1.0)
    return self.retry(countdown=countdown, max_retries=RETRIES)  # type: ignore[no-any-return]


@task(bind=True)
def evaluate(self: Any, position_id: str) -> None:
    """Govern one position now. Idempotent: under the position's lock, by what the state says at that moment."""
    try:
        with turns.decision():
            outcome = house().governor.decide(position_id)
        if outcome.unverified:
            house().reconciler.verify(position_id)
            with turns.decision():
                outcome = house().governor.decide(position_id)
        if outcome.op is not None and outcome.kind == "STARTED":
            begin(position_id, outcome.op)
        else:
            house().governor.follow(position_id, outcome)
        if outcome.silent:
            house().reconciler.position(position_id)
    except (StateUnavailable, NeighbourUnavailable) as error:
        if self.request.retries >= RETRIES:
            return  # the sweep asks again
        raise _again(self) from error
    if (outcome.kind == "BUSY" or outcome.unverified) and self.request.retries < RETRIES:
        raise _again(self)


@task()
def sweep() -> None:
    """Single-flight: a period has one sweep, however many beats ask for it."""
    house().sweep_once()
