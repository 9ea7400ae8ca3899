"""What the parts of the live state in Redis share: the client, the clock, and how an error of Redis shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.cluster import RedisCluster
from redis.exceptions import RedisError

from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_marks import AWAY, ClusterMarks
from s6.adapters.redis_nodes import NodeAway
from s6.ports import Clock, PartUnavailable, StateUnavailable

#: How often a compare-and-set that others keep winning is tried.
SWAPS: Final = 200


class RedisPart:
    """One part of the live state, over a client that never repeats a command by itself."""

    def __init__(self, redis: RedisClient, clock: Clock) -> None:
        self._redis: Any = redis  # redis-py types every answer as bytes | str; with decode_responses it is str
        self._clock = clock
        self._is_cluster = isinstance(redis, RedisCluster)
        self._marks = ClusterMarks(redis)

    def _pay_marks(self) -> None:
        """Write the marks that are owed, on a cluster."""
        if self._is_cluster:
            self._marks.write()

    def _answers(self, pipe: Any) -> list[Any]:
        """Return a pipeline's answers. A cluster's node that is away has its error in their place, unless all are.

        Raises ``RedisError``.
        """
        if not self._is_cluster:
            return list(pipe.execute())
        answers = list(pipe.execute(raise_on_error=False))
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if errors and (len(errors) == len(answers) or not all(isinstance(error, AWAY) for error in errors)):
            raise errors[0]
        return answers


@contextmanager
def asking() -> Iterator[None]:
    """Raise ``StateUnavailable`` for every error of Redis in the block, ``PartUnavailable`` for one of its nodes."""
    try:
        yield
    except NodeAway as error:
        raise PartUnavailable(f"Redis: {error}") from error
    except RedisError as error:
        raise StateUnavailable(f"Redis: {type(error).__name__}: {error}") from error


def kept_changing(key: str) -> StateUnavailable:
    """Return the error for a compare-and-set that others won every time."""
    return StateUnavailable(f"{key} kept changing: others wrote first {SWAPS} times")
