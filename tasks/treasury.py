"""Begins transfers when they are needed, takes each from step to step, and finds those left behind."""

from __future__ import annotations

import logging
import random
from typing import Any

from s6.store import StoreError
from tasks.base import services, task
from tasks.hints import LONGEST_COUNTDOWN_S

log = logging.getLogger(__name__)

RETRIES = 6
"""How often one chain goes on by itself. The sweep continues what takes longer."""


@task()
def check() -> None:
    """Check whether a transfer is needed. However many beats ask at once, they begin one transfer."""
    log.info("treasury check: %s", services().treasury.check())


@task(bind=True)
def advance(self: Any, transfer_id: str) -> None:
    """Take the next step of one transfer, then the one after. Harmless when lost, doubled or late."""
    outcome = services().treasury.advance(transfer_id)
    log.info("transfer %s: %s", transfer_id, outcome.kind)
    if outcome.delay_ms is None or self.request.retries >= RETRIES:
        return
    countdown = (
        outcome.delay_ms / 1000 * random.uniform(1, 1.2)
    )  # the wait is jittered already, and not to be cut short
    if countdown <= LONGEST_COUNTDOWN_S:
        raise self.retry(countdown=countdown, max_retries=RETRIES)


@task()
def sweep() -> None:
    """Ask, ask again, send, send again, expire: one small query when nothing is in flight."""
    try:
        services().treasury.sweep()
    except StoreError as error:
        log.warning("transfers in flight cannot be looked up: %s", error)
