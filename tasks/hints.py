"""``s6.ports.Hints`` over Celery, by the tasks' names. A hint that can't be sent is logged: the sweep makes another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from celery import Signature, chain
from kombu.exceptions import ChannelError, KombuError
from redis.exceptions import RedisError

from s6.engine.executor import Progress
from s6.model.operation import Operation
from tasks.app import app

log = logging.getLogger(__name__)

EVALUATE: Final = "tasks.evaluation.evaluate"
EVALUATE_SOME: Final = "tasks.evaluation.evaluate_some"
CANCEL_STOP: Final = "tasks.execution.cancel_stop"
AWAIT_CANCEL: Final = "tasks.execution.await_cancel"
PLACE_STOP: Final = "tasks.execution.place_stop"
PLACE_ORDER: Final = "tasks.execution.place_order"
ADVANCE_TRANSFER: Final = "tasks.treasury.advance"
NAMES: Final = (EVALUATE, EVALUATE_SOME, CANCEL_STOP, AWAIT_CANCEL, PLACE_STOP, PLACE_ORDER, ADVANCE_TRANSFER)
"""Every task that is sent by name."""

MOST_AT_ONCE: Final = 8
THREADS: Final = 16
LONGEST_COUNTDOWN_S: Final = 30.0  # waits longer than this are the sweep's
URGENT: Final = 0  # Redis's transport takes the smallest number first, over all queues
BEGUN: Final = 3  # what is decided is carried out before more is decided
AWAIT_S: Final = 0.5  # the result from the stream normally wakes the operation long before


class CeleryHints:
    """What protects a position overtakes everything that waits: a backlog must not keep one without its stop."""

    def evaluate(self, position_id: str, *, delay_ms: int = 0, attempt: int = 0) -> None:
        _send(lambda: _signature(EVALUATE, position_id, attempt).apply_async(countdown=_countdown(delay_ms)))

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        """One connection and one channel for the whole batch, and one task for several positions if there are many."""
        priority = {"priority": URGENT} if urgent else {}

        def send() -> None:
            with app.producer_pool.acquire(block=True, timeout=5) as producer:
                for some in _shared_out(position_ids):
                    task = _signature(EVALUATE, *some) if len(some) == 1 else _signature(EVALUATE_SOME, some)
                    task.apply_async(producer=producer, **priority)

        if position_ids:
            _send(send)

    def protect(self, position_id: str) -> None:
        _send(lambda: _signature(EVALUATE, position_id).apply_async(priority=URGENT))

    def waiting(self) -> int | None:
        """Return how many tasks wait in the queue of evaluations, None when the broker cannot be asked."""
        try:
            with app.pool.acquire(block=True, timeout=5) as connection, connection.channel() as channel:
                return waiting_in(channel, app.conf.task_default_queue)
        except (KombuError, RedisError, OSError) as error:
            log.warning("the queue of evaluations was not looked at: %s", error)
            return None

    def execute(self, position_id: str, op: Operation) -> None:
        if op.stage == "CANCEL":
            cancel = _signature(CANCEL_STOP, position_id, op.op_id).set(priority=_priority(op))
            _send(lambda: chain(cancel, *_after_cancel(position_id, op)).apply_async())
        else:
            place = _signature(PLACE_ORDER, position_id, op.op_id)
            _send(lambda: place.apply_async(priority=_priority(op)))

    def resume(self, position_id: str, op: Operation) -> None:
        _send(lambda: _next(position_id, op).apply_async(priority=_priority(op)))

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        _send(lambda: _signature(ADVANCE_TRANSFER, transfer_id).apply_async(countdown=_countdown(delay_ms)))


def waiting_in(channel: Any, queue: str) -> int:
    """Return how many tasks wait in a queue. Raises what the broker raises."""
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:  # the queue is not there: a list in Redis is no more when it is empty
        return 0


def carry_on(position_id: str, op: Operation, progress: Progress) -> None:
    """Go on with an operation from where it stands: with the chain's remaining links, or when its wait is over."""
    if progress.stage == "AWAIT_CANCEL":
        _send(lambda: chain(*_after_cancel(position_id, op)).apply_async())
    else:
        countdown = min(progress.wait_ms / 1000, LONGEST_COUNTDOWN_S)
        _send(lambda: _next(position_id, op).apply_async(countdown=countdown, priority=_priority(op)))


def _shared_out(position_ids: Sequence[str]) -> Iterator[list[str]]:
    """Share positions out so that each of a worker's threads has some before any task holds more than a few."""
    size = max(1, min(MOST_AT_ONCE, len(position_ids) // THREADS))
    for start in range(0, len(position_ids), size):
        yield list(position_ids[start : start + size])


def _signature(name: str, *arguments: str | int | list[str]) -> Signature:
    """A task by its name, behind what protects: a process that knows no tasks would give it no priority, the first."""
    return app.signature(name, args=arguments, immutable=True, priority=app.conf.task_default_priority)


def _after_cancel(position_id: str, op: Operation) -> tuple[Signature, Signature]:
    """The chain's links behind the cancel."""
    wait = _signature(AWAIT_CANCEL, position_id, op.op_id).set(countdown=AWAIT_S)
    return wait, _signature(PLACE_STOP, position_id, op.op_id)


def _next(position_id: str, op: Operation) -> Signature:
    """The task that takes an operation on, wherever it stands."""
    return _signature(PLACE_STOP if op.kind == "STOP_MOVE" else PLACE_ORDER, position_id, op.op_id)


def _priority(op: Operation) -> int:
    """Urgent: a stop where there is none (any more) or one of another quantity, and a way out."""
    unprotected = op.kind == "STOP_MOVE" and (op.stage == "PLACE" or not op.target or op.reason == "RESIZE")
    return URGENT if unprotected or op.kind == "EXIT" else BEGUN


def _countdown(delay_ms: int) -> float | None:
    return min(delay_ms / 1000, LONGEST_COUNTDOWN_S) if delay_ms else None


def _send(publish: Callable[[], object]) -> None:
    try:
        publish()
    except (KombuError, RedisError, OSError) as error:
        log.warning("a hint was not sent, the sweep will see to it: %s: %s", type(error).__name__, error)
