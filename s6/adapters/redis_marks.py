"""Marks in the indexes that all positions share.

On a cluster an index is on another node than most positions, and must not hold them up when that hangs. Its marks are
owed then, and written with the next ones, or with the next look at an index.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from redis.exceptions import ConnectionError, TimeoutError

from s6.adapters.redis_client import RedisClient

log = logging.getLogger(__name__)
OWED: Final = 10_000
#: The errors of a node that hangs or is away.
AWAY: Final = (ConnectionError, TimeoutError)


class Mark(NamedTuple):
    """A command that is harmless to repeat: a method of the client, and what it gets."""

    method: str
    args: tuple[Any, ...]
    options: Mapping[str, Any] = MappingProxyType({})

    def words(self) -> list[str]:
        """Return the command as Redis reads it."""
        key, *rest = self.args
        flags = [name.upper() for name, on in self.options.items() if on]
        scored = (part for arg in rest for part in (_scores(arg) if isinstance(arg, Mapping) else (arg,)))
        return [self.method.upper(), key, *flags, *map(str, scored)]


def raised(index: str, position_id: str, score: int) -> Mark:
    """Return the mark that puts a position in a sorted set under a score that never falls.

    Who crosses a position off names the score that it saw. It may have been held up while another one crossed the
    position off and a commit marked it anew: only scores that never come again tell the two marks apart.
    """
    return Mark("zadd", (index, {position_id: score}), {"gt": True})


class ClusterMarks:
    """Writes marks into a cluster; threads share it. It owes the newest 10,000, and a process that dies owes none."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._owed: deque[Mark] = deque(maxlen=OWED)

    def write(self, marks: Iterable[Mark] = ()) -> None:
        """Write these and those that are owed. Raises ``RedisError`` for what is no matter of a node that is away."""
        with self._lock:
            due = [*self._owed, *marks]
            self._owed.clear()
        if not due:
            return
        pipe: Any = self._redis.pipeline(transaction=False)
        queue(pipe, due)
        try:
            answers = pipe.execute(raise_on_error=False)
        except AWAY as error:
            answers = [error] * len(due)
        owed = [mark for mark, answer in zip(due, answers, strict=True) if isinstance(answer, AWAY)]
        with self._lock:
            self._owed.extendleft(reversed(owed))
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, AWAY):
                raise answer


def _scores(scores: Mapping[str, float]) -> Iterator[object]:
    """Yield the scores and members of a ``ZADD``."""
    for member, score in scores.items():
        yield from (score, member)


def queue(pipe: Any, marks: Iterable[Mark]) -> None:
    """Queue the marks' commands in a pipeline."""
    for mark in marks:
        getattr(pipe, mark.method)(*mark.args, **mark.options)
