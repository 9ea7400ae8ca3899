"""Locks in Redis, each held by a context manager: a position's, which reads the position as well, and any other.

A lock keeps two processes from doing the same work at the same time. Nothing relies on it for correctness: commits
compare ``rev``, requests carry the same ids, transfers take a turn. So a lock may expire under its holder; that is
reported, because the holder was slower than it should ever be.

The keys, their times and the order in which they may be taken stand in ``s6.keys``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from s6 import keys
from s6.model.commit import Loaded
from s6.ports import Alerts, Clock, LockBusy, Locks, PositionLocks, StateUnavailable

log = logging.getLogger(__name__)
Overrun = Callable[[str], object]


class HeldPosition(NamedTuple):
    """A position whose lock is held since ``since`` (ms): the token for commits, and the position as it was read."""

    token: str
    loaded: Loaded | None
    since: int


@contextmanager
def held(locks: Locks, lock: keys.Lock, clock: Clock, overrun: Overrun = log.warning) -> Iterator[str]:
    """Hold ``lock``; yields the token. ``overrun`` gets a text when the lock expired before the block ended.

    Raises ``LockBusy`` when another holds it, ``StateUnavailable`` when Redis cannot be asked for it. When Redis cannot
    be asked to release it, the lock is left to expire, and the block's outcome stands.
    """
    since = clock.now_ms()
    token = locks.lock(lock.key, lock.ttl_ms)
    if token is None:
        raise LockBusy(lock.key)
    try:
        yield token
    finally:
        _release(locks, lock, token, clock, since, overrun)


@contextmanager
def held_position(locks: PositionLocks, alerts: Alerts, clock: Clock, position_id: str) -> Iterator[HeldPosition]:
    """Hold a position's lock; yields the token and the position, read in the same round trip.

    Raises as ``held`` does. A lock that expired before the block ended raises the alert ``LOCK_OVERRUN``.
    """
    lock, since = keys.position_lock(position_id), clock.now_ms()
    token, loaded = locks.lock_and_load(position_id, lock.ttl_ms)
    if token is None:
        raise LockBusy(lock.key)
    try:
        yield HeldPosition(token, loaded, since)
    finally:
        _release(locks, lock, token, clock, since, raise_overrun(alerts, position_id))


def raise_overrun(alerts: Alerts, position_id: str = "") -> Overrun:
    """Return what raises the FATAL alert about a lock that the contract names."""
    return lambda text: alerts.raise_alert("FATAL", "LOCK_OVERRUN", text, position_id=position_id)


def _release(locks: Locks, lock: keys.Lock, token: str, clock: Clock, since: int, overrun: Overrun) -> None:
    try:
        ours = locks.unlock(lock.key, token)
    except StateUnavailable as error:
        log.warning("%s is left to expire: %s", lock.key, error)
        return
    took_ms = clock.now_ms() - since
    if ours:
        return
    if 0 <= took_ms < lock.ttl_ms:
        log.warning("%s vanished after %s ms: Redis has lost it", lock.key, took_ms)
        return
    how_long = f"{took_ms} ms" if took_ms >= 0 else "nobody knows how long (the clock was set back)"
    overrun(f"{lock.key} was held for {how_long} and expired after {lock.ttl_ms} ms; a late write is refused")
