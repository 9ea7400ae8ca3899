"""``s6.ports.Hints`` over Celery. A hint that cannot be sent is dropped and said so: the sweep makes another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from celery import chain
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from s6.model.operation import Operation

log = logging.getLogger(__name__)
LONGEST_COUNTDOWN_S = 30.0  # well inside the broker's visibility timeout
URGENT = 0  # Redis's transport takes the smallest number first, over all queues
BEGUN = 3  # what is decided is carried out before more is decided
AWAIT_S = 0.5  # the result from the stream normally wakes the operation long before


class CeleryHints:
    """What protects a position overtakes everything that waits: a backlog must not keep one without its stop."""

    def evaluate(self, position_id: str, *, delay_ms: int = 0) -> None:
        from tasks.manage import evaluate

        countdown = min(delay_ms / 1000, LONGEST_COUNTDOWN_S) if delay_ms else None
        _send(lambda: evaluate.apply_async((position_id,), countdown=countdown))

    def evaluate_many(self, position_ids: Sequence[str]) -> None:
        """One connection and one channel for the whole batch."""
        from tasks.base import app
        from tasks.manage import evaluate

        def send() -> None:
            with app.producer_pool.acquire(block=True, timeout=5) as producer:
                for position_id in position_ids:
                    evaluate.apply_async((position_id,), producer=producer, expires=60)

        if position_ids:
            _send(send)

    def protect(self, position_id: str) -> None:
        from tasks.manage import evaluate

        _send(lambda: evaluate.apply_async((position_id,), priority=URGENT))

    def execute(self, position_id: str, op: Operation) -> None:
        from tasks.execution import await_cancel, cancel_stop, place_order, place_stop

        at = (position_id, op.op_id)
        if op.stage == "CANCEL":
            waiting = await_cancel.si(*at).set(countdown=AWAIT_S)
            _send(lambda: chain(cancel_stop.si(*at).set(**_urgency(op)), waiting, place_stop.si(*at)).apply_async())
        else:
            _send(lambda: place_order.apply_async(at, **_urgency(op)))

    def resume(self, position_id: str, op: Operation) -> None:
        from tasks.execution import place_order, place_stop

        task = place_stop if op.kind == "STOP_MOVE" else place_order
        _send(lambda: task.apply_async((position_id, op.op_id), **_urgency(op)))

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        from tasks.treasury import advance

        countdown = min(delay_ms / 1000, LONGEST_COUNTDOWN_S) if delay_ms else None
        _send(lambda: advance.apply_async((transfer_id,), countdown=countdown))


def _urgency(op: Operation) -> dict[str, int]:
    """Urgent: a stop where there is none (any more) or one of another quantity, and a way out."""
    bare = op.kind == "STOP_MOVE" and (op.stage == "PLACE" or not op.target or op.reason == "RESIZE")
    return {"priority": URGENT if bare or op.kind == "EXIT" else BEGUN}


def _send(publish: Callable[[], object]) -> None:
    try:
        publish()
    except (KombuError, RedisError, OSError) as error:
        log.warning("a hint was not sent, the sweep will see to it: %s: %s", type(error).__name__, error)
