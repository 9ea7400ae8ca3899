"""A Redis Cluster client that sends again only what the cluster refused to carry out."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from redis.cluster import ClusterPipeline, PipelineCommand, PipelineStrategy, RedisCluster
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

#: How long a command may wait for a slot's migration or a failover to be through; within the 3 s of an answer.
PATIENCE_S: Final = 2.0
PAUSE_S: Final = 0.02

#: The server's word that it did not carry the command out. (MovedError is an AskError.)
NOT_DONE: Final = (AskError, TryAgainError, ClusterDownError)
#: A script came upon a key that has moved. Each script does so before it writes (``s6.adapters.redis_scripts``).
NOT_HERE: Final = "attempted to access a non local key"

#: Commands that redis-py keeps out of a cluster's pipelines although they go to one node like any other.
UNBLOCKED: Final = ("eval", "evalsha", "publish")


class HonestCluster(RedisCluster):
    """``RedisCluster`` without its replays: not of single commands (``retry``), nor of pipelines (done here).

    With ``retry`` at none, redirections are still followed; commands that a migrating slot or a failover holds up are
    sent again for a while. No node reachable, or slots without a node: a ``redis.exceptions.ConnectionError``, where
    redis-py raises something that is not a ``RedisError``.
    """

    #: How often redis-py itself sends a command that is redirected (MOVED, then ASK) or refused, before it is our turn.
    RedisClusterRequestTTL = 5

    def __init__(self, *, patience_s: float = PATIENCE_S, **options: Any) -> None:
        self._patience_s = patience_s
        try:
            super().__init__(**options)
        except RedisClusterException as error:
            raise ConnectionError(str(error)) from error

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        patience = time.monotonic() + self._patience_s
        while True:
            try:
                return super().execute_command(*args, **kwargs)  # type: ignore[no-untyped-call]
            except RedisError as error:
                if not refused(error) or time.monotonic() > patience:
                    raise
                time.sleep(PAUSE_S)
            except RedisClusterException as error:
                raise ConnectionError(str(error)) from error

    def pipeline(self, transaction: bool | None = None, shard_hint: Any = None) -> ClusterPipeline:
        pipe: ClusterPipeline = super().pipeline(transaction, shard_hint)  # type: ignore[no-untyped-call]
        if not transaction:
            pipe._execution_strategy = _HonestPipeline(pipe, self)
            for name in UNBLOCKED:
                setattr(pipe, name, partial(pipe.execute_command, name.upper()))
        return pipe


def refused(error: object) -> bool:
    """Return whether this answer says that nothing was done, as a slot moves or the cluster is down.

    "TTL exhausted" is redis-py's word when it was redirected, or asked to try again, too often in a row.
    """
    if isinstance(error, NOT_DONE):
        return True
    if isinstance(error, ClusterError):
        return "TTL exhausted" in str(error)
    return isinstance(error, ResponseError) and NOT_HERE in str(error)


class _HonestPipeline(PipelineStrategy):
    """Sends a pipeline's commands once; redis-py sends them again, one by one, when their answers were lost."""

    def __init__(self, pipe: ClusterPipeline, cluster: HonestCluster) -> None:
        super().__init__(pipe)
        self._cluster = cluster

    def send_cluster_commands(
        self, stack: list[PipelineCommand], raise_on_error: bool = True, allow_redirections: bool = True
    ) -> list[Any]:
        if not stack:
            return []
        try:
            self._send_cluster_commands(  # type: ignore[no-untyped-call]
                stack, raise_on_error=False, allow_redirections=False
            )
        except RedisClusterException as error:
            raise ConnectionError(str(error)) from error
        for command in stack:
            if refused(command.result):
                command.result = self._again(command)
        if raise_on_error:
            self._raise_first_error(stack, time.monotonic())  # type: ignore[no-untyped-call]
        return [command.result for command in stack]

    def _again(self, command: PipelineCommand) -> Any:
        try:
            return self._cluster.execute_command(*command.args, **command.options)
        except RedisError as error:
            return error
