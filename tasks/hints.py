"""``s6.ports.Hints`` over Celery. A hint that cannot be sent is dropped and said so: the sweep makes another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from celery import Signature, Task, chain
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from s6.engine.executor import Progress
from s6.model.operation import Operation

log = logging.getLogger(__name__)
LONGEST_COUNTDOWN_S = 30.0  # waits longer than this are the sweep's
URGENT = 0  # Redis's transport takes the smallest number first, over all queues
BEGUN = 3  # what is decided is carried out before more is decided
AWAIT_S = 0.5  # the result from the stream normally wakes the operation long before


class CeleryHints:
    """What protects a position overtakes everything that waits: a backlog must not keep one without its stop."""

    def evaluate(self, position_id: str, *, delay_ms: int = 0) -> None:
        from tasks.evaluation import evaluate

        countdown = min(delay_ms / 1000, LONGEST_COUNTDOWN_S) if delay_ms else None
        _send(lambda: evaluate.apply_async((position_id,), countdown=countdown))

    def evaluate_many(self, position_ids: Sequence[str]) -> None:
        """One connection and one channel for the whole batch."""
        from tasks.base import app
        from tasks.evaluation import evaluate

        def send() -> None:
            with app.producer_pool.acquire(block=True, timeout=5) as producer:
                for position_id in position_ids:
                    evaluate.apply_async((position_id,), producer=producer, expires=60)

        if position_ids:
            _send(send)

    def protect(self, position_id: str) -> None:
        from tasks.evaluation import evaluate

        _send(lambda: evaluate.apply_async((position_id,), priority=URGENT))

    def execute(self, position_id: str, op: Operation) -> None:
        from tasks.execution import cancel_stop, place_order

        at = (position_id, op.op_id)
        if op.stage == "CANCEL":
            _send(lambda: chain(cancel_stop.si(*at).set(**_urgency(op)), *_outcome(at)).apply_async())
        else:
            _send(lambda: place_order.apply_async(at, **_urgency(op)))

    def resume(self, position_id: str, op: Operation) -> None:
        _send(lambda: _next(op).apply_async((position_id, op.op_id), **_urgency(op)))

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        from tasks.treasury import advance

        countdown = min(delay_ms / 1000, LONGEST_COUNTDOWN_S) if delay_ms else None
        _send(lambda: advance.apply_async((transfer_id,), countdown=countdown))


def carry_on(position_id: str, op: Operation, progress: Progress) -> None:
    """Go on with an operation from where it stands: with the chain's remaining links, or when its wait is over."""
    at = (position_id, op.op_id)
    if progress.stage == "AWAIT_CANCEL":
        _send(lambda: chain(*_outcome(at)).apply_async())
    else:
        countdown = min(progress.wait_ms / 1000, LONGEST_COUNTDOWN_S)
        _send(lambda: _next(op).apply_async(at, countdown=countdown, **_urgency(op)))


def _outcome(at: tuple[str, str]) -> tuple[Signature, Signature]:
    """The links behind the cancel."""
    from tasks.execution import await_cancel, place_stop

    return await_cancel.si(*at).set(countdown=AWAIT_S), place_stop.si(*at)


def _next(op: Operation) -> Task:
    """The task that takes an operation on, wherever it stands."""
    from tasks.execution import place_order, place_stop

    return place_stop if op.kind == "STOP_MOVE" else place_order


def _urgency(op: Operation) -> dict[str, int]:
    """Urgent: a stop where there is none (any more) or one of another quantity, and a way out."""
    bare = op.kind == "STOP_MOVE" and (op.stage == "PLACE" or not op.target or op.reason == "RESIZE")
    return {"priority": URGENT if bare or op.kind == "EXIT" else BEGUN}


def _send(publish: Callable[[], object]) -> None:
    try:
        publish()
    except (KombuError, RedisError, OSError) as error:
        log.warning("a hint was not sent, the sweep will see to it: %s: %s", type(error).__name__, error)
