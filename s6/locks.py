"""Locks in Redis, each held by a context manager: a position's, which reads the position as well, and any other.

A lock keeps two processes from doing the same work at the same time. Nothing relies on it for correctness: commits
compare ``rev``, requests carry the same ids, transfers take a turn. So a lock may expire under its holder. Of a
``keys.Lock`` that is FATAL, whatever it locks, because the holder was slower than it should ever be. A
``keys.SoftLock`` is made to expire under work that goes on for longer. Who holds a position's lock asks ``still_held``
before each request that changes something at S4: the next holder may have given up what was about to be sent.

The keys, their times and the order in which they may be taken stand in ``s6.keys``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from s6 import keys
from s6.model.commit import Loaded
from s6.ports import Alerts, Clock, LockBusy, LockLost, Locks, PositionLocks, StateUnavailable

log = logging.getLogger(__name__)
Overrun = Callable[[str], object]


class HeldPosition(NamedTuple):
    """A position whose lock is held since ``since`` (ms, by ``Clock.steady_ms``): the token for commits, and the
    position as it was read."""

    token: str
    loaded: Loaded | None
    since: int


def held(locks: Locks, lock: keys.Lock, alerts: Alerts, clock: Clock) -> AbstractContextManager[str]:
    """Hold ``lock``; yields the token. If it expired before the block ended, raises the FATAL ``LOCK_OVERRUN``.

    Raises ``LockBusy`` when another holds it, ``StateUnavailable`` when Redis cannot be asked for it. When Redis cannot
    be asked to release it, the lock is left to expire, and the block's outcome stands.
    """
    return _held(locks, lock, clock, _fatal(alerts))


def held_softly(locks: Locks, lock: keys.SoftLock, clock: Clock) -> AbstractContextManager[str]:
    """Hold ``lock`` as ``held`` does, but say no more than in the log that it expired before the block ended."""
    return _held(locks, lock, clock, log.warning)


@contextmanager
def held_position(locks: PositionLocks, alerts: Alerts, clock: Clock, position_id: str) -> Iterator[HeldPosition]:
    """Hold a position's lock as ``held`` does; yields the token and the position, read in the same round trip."""
    lock, since = keys.position_lock(position_id), clock.steady_ms()
    token, loaded = locks.lock_and_load(position_id, lock.ttl_ms)
    if token is None:
        raise LockBusy(lock.key)
    try:
        yield HeldPosition(token, loaded, since)
    finally:
        _release(locks, lock, token, clock, since, _fatal(alerts, position_id))


def still_held(held: HeldPosition, clock: Clock) -> None:
    """Raise ``LockLost`` when a position's lock may have expired by now. Costs no round trip."""
    lock, took_ms = keys.position_lock(""), clock.steady_ms() - held.since
    if took_ms >= lock.ttl_ms:
        raise LockLost(f"the position was locked {took_ms} ms ago, for {lock.ttl_ms} ms")


@contextmanager
def _held(locks: Locks, lock: keys.Lock | keys.SoftLock, clock: Clock, overrun: Overrun) -> Iterator[str]:
    since = clock.steady_ms()
    token = locks.lock(lock.key, lock.ttl_ms)
    if token is None:
        raise LockBusy(lock.key)
    try:
        yield token
    finally:
        _release(locks, lock, token, clock, since, overrun)


def _fatal(alerts: Alerts, position_id: str = "") -> Overrun:
    return lambda text: alerts.raise_alert("FATAL", "LOCK_OVERRUN", text, position_id=position_id)


def _release(
    locks: Locks, lock: keys.Lock | keys.SoftLock, token: str, clock: Clock, since: int, overrun: Overrun
) -> None:
    """Give the lock back. ``overrun`` gets a text where it has expired."""
    try:
        ours = locks.unlock(lock.key, token)
    except StateUnavailable as error:
        log.warning("%s is left to expire: %s", lock.key, error)
        return
    took_ms = clock.steady_ms() - since
    if ours:
        return
    if took_ms < lock.ttl_ms:
        log.warning("%s vanished after %s ms: Redis has lost it", lock.key, took_ms)
        return
    overrun(f"{lock.key} was held for {took_ms} ms and expired after {lock.ttl_ms} ms")
