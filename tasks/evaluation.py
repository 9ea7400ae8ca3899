"""Evaluates positions: one on a hint, all of them by the sweep."""

from __future__ import annotations

import logging
import random
from contextlib import closing
from typing import Any

from celery.signals import worker_shutting_down

from s6.engine.evaluation import Evaluation
from s6.ports import NeighbourUnavailable, StateUnavailable
from tasks.app import app
from tasks.base import alert_failure, services, task
from tasks.hints import URGENT, carry_on
from tasks.scheduling import EvaluationQueue, priority

log = logging.getLogger(__name__)
BUSY_MS = 30
LONGEST_PAUSE_MS = 1_000
RETRIES = 10

queue = EvaluationQueue(max(1, app.conf["settings"].worker_threads // 2))


@worker_shutting_down.connect
def _end(**_: Any) -> None:
    queue.ending = True


@task(bind=True)
def evaluate(self: Any, position_id: str, attempt: int = 0) -> None:
    """Govern one position now. Idempotent: it holds the position's lock and acts on the state at that moment.

    ``attempt`` counts how often it could not be done so far.
    """
    _work(self, {position_id: attempt})


@task(bind=True)
def evaluate_some(self: Any, position_ids: list[str]) -> None:
    """Govern these positions now, each by itself; other threads take some of them on where they have room."""
    _work(self, dict.fromkeys(position_ids, 0))


def _work(self: Any, attempts: dict[str, int]) -> None:
    urgent = (self.request.delivery_info or {}).get("priority") == URGENT
    with closing(queue.work(*attempts, urgent=urgent)) as names:
        for name in names:
            try:
                _evaluate(name, attempts.get(name, 0))
            except Exception as error:  # it concerns this position alone; the others still wait
                log.exception("%s could not be evaluated", name)
                alert_failure(self.name, (name,), error)
    services().hints.hand_back(queue.left_over())


def _evaluate(position_id: str, attempt: int) -> None:
    known = services()
    evaluation = Evaluation(known.governor, known.executor, known.reconciler, priority.decision, priority.step)
    pause_ms = _pause_ms(attempt)
    try:
        known.hints.begin(position_id)
        again = evaluation.run(position_id, carry_on)
    except StateUnavailable:
        again = True
    except NeighbourUnavailable as error:
        again, pause_ms = True, max(pause_ms, error.retry_after_ms or 0)
    if again and attempt < RETRIES:  # then the sweep asks
        services().hints.evaluate(position_id, delay_ms=pause_ms, attempt=attempt + 1)


def _pause_ms(attempt: int) -> int:
    """Return a jittered pause that doubles up to a second."""
    return int(min(BUSY_MS * 2**attempt, LONGEST_PAUSE_MS) * random.uniform(0.5, 1.0))


@task()
def sweep() -> None:
    """Sweep once a period, however many beats ask for it."""
    services().sweep.run_once()
