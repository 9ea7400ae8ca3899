"""Evaluates positions: one on a hint, all of them by the sweep."""

from __future__ import annotations

import logging
import random
from contextlib import closing, suppress
from typing import Any

from celery.exceptions import Reject
from celery.signals import worker_shutting_down

from s6.ports import NeighbourUnavailable, StateUnavailable
from tasks.app import app
from tasks.base import alert_failure, services, task
from tasks.execution import begin
from tasks.hints import URGENT
from tasks.scheduling import EvaluationQueue, priority

log = logging.getLogger(__name__)
BUSY_S = 0.03
RETRIES = 10

queue = EvaluationQueue(max(1, app.conf["settings"].worker_threads // 2))


@worker_shutting_down.connect
def _end(**_: Any) -> None:
    queue.ending = True


@task(bind=True)
def evaluate(self: Any, position_id: str) -> None:
    """Govern one position now. Idempotent: it holds the position's lock and acts on the state at that moment."""
    urgent = (self.request.delivery_info or {}).get("priority") == URGENT
    with closing(queue.work(position_id, urgent=urgent)) as names:
        for name in names:
            try:
                _evaluate(self, name)
            except Exception as error:  # it concerns this position alone; the others still wait
                log.exception("%s could not be evaluated", name)
                alert_failure(self.name, (name,), error)
    services().hints.evaluate_many(queue.left_over())


def _evaluate(self: Any, position_id: str) -> None:
    try:
        with priority.decision():
            outcome = services().governor.decide(position_id)
        if outcome.unverified:
            services().reconciler.verify(position_id)
            with priority.decision():
                outcome = services().governor.decide(position_id)
        if outcome.op is not None and outcome.kind == "STARTED":
            begin(position_id, outcome.op)
        else:
            services().governor.follow(position_id, outcome)
        if outcome.unconfirmed:
            services().reconciler.reconcile_position(position_id)
        again = outcome.kind == "BUSY" or outcome.unverified
    except (StateUnavailable, NeighbourUnavailable):
        again = True
    if again and self.request.retries < RETRIES:  # then the sweep asks
        _again(self, position_id)


def _again(self: Any, position_id: str) -> None:
    """Retry after a jittered pause that doubles up to a second. While the broker is away, the sweep asks instead."""
    countdown = min(BUSY_S * 2**self.request.retries, 1.0) * random.uniform(0.5, 1.0)
    with suppress(Reject):
        self.retry(args=(position_id,), countdown=countdown, max_retries=RETRIES, throw=False)


@task()
def sweep() -> None:
    """Sweep once a period, however many beats ask for it."""
    services().sweep.run_once()
