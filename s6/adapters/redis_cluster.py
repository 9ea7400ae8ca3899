"""A Redis Cluster client that sends again only what the cluster refused to carry out, and waits for no node twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from redis.cluster import (
    ClusterNode,
    ClusterPipeline,
    PipelineCommand,
    PipelineStrategy,
    RedisCluster,
)
from redis.commands.core import Script
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ClusterError,
    ConnectionError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from s6.adapters.redis_nodes import HungNodes, NodeAway

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

    ``hung`` are the nodes that do not answer: commands for them fail at once, those for others go on.
    """

    #: How often redis-py itself sends a command that is redirected (MOVED, then ASK) or refused, before it is our turn.
    RedisClusterRequestTTL = 5

    def __init__(self, *, patience_s: float = PATIENCE_S, **options: Any) -> None:
        self._patience_s = patience_s
        self.hung = HungNodes(self._connectable, self._refresh)
        try:
            super().__init__(**options)
        except RedisClusterException as error:
            raise ConnectionError(str(error)) from error
        self._learn: Callable[..., None] = self.nodes_manager.initialize
        self.nodes_manager.initialize = self._learn_from_others  # type: ignore[method-assign]

    def close(self) -> None:
        self.hung.close()
        super().close()

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

    def publish(self, channel: Any, message: Any, **kwargs: Any) -> Any:
        """Publish through a node that answers: the nodes hand messages on among themselves."""
        node = next(iter(self.answering()), None)
        return self.execute_command("PUBLISH", channel, message, target_nodes=node, **kwargs)

    def register_script(self, script: Any) -> Script:
        """Return the script as a function; its ``sha`` is for pipelines."""
        return _Script(self, script)

    def answering(self) -> list[ClusterNode]:
        """Return the masters that do not hang."""
        nodes: list[ClusterNode] = self.get_primaries()  # type: ignore[no-untyped-call]
        return [node for node in nodes if not self.hung.hangs(node)]

    def owner(self, *command: Any) -> ClusterNode:
        """Return the node that a command's keys are on, as far as is known."""
        slot = self.determine_slot(*command)
        if slot is None:
            raise RedisClusterException(f"{command[0]} goes to no one node")
        return self.nodes_manager.get_node_from_slot(slot)

    def _execute_command(self, target_node: ClusterNode, *args: Any, **kwargs: Any) -> Any:
        self.hung.check(target_node)
        try:
            return super()._execute_command(target_node, *args, **kwargs)  # type: ignore[no-untyped-call]
        except (ConnectionError, TimeoutError) as error:
            where = getattr(error, "connection", target_node)  # another one after a redirection
            raise NodeAway(f"{where.host}:{where.port}: {error}") from error

    def _connectable(self) -> list[ClusterNode]:
        nodes: list[ClusterNode] = self.get_primaries()  # type: ignore[no-untyped-call]
        for node in nodes:
            self.get_redis_connection(node)  # which makes it, and connects to nothing
        return nodes

    def _refresh(self) -> None:
        self.nodes_manager.initialize()

    def _learn_from_others(self, *args: Any, last_failed_node_name: str | None = None, **options: Any) -> None:
        """Learn who has which slots, and ask a node that hangs last; redis-py asks any of them first."""
        failed = last_failed_node_name or next(iter(self.hung.names()), None)
        self._learn(*args, last_failed_node_name=failed, **options)

    def _get_command_keys(self, *args: Any) -> Any:
        return _stream_keys(args) or super()._get_command_keys(*args)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool | None = None, shard_hint: Any = None) -> ClusterPipeline:
        pipe: ClusterPipeline = super().pipeline(transaction, shard_hint)  # type: ignore[no-untyped-call]
        if not transaction:
            pipe._execution_strategy = _HonestPipeline(pipe, self)
            pipe._get_command_keys = self._get_command_keys  # type: ignore[method-assign]
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


def _stream_keys(command: tuple[Any, ...]) -> list[Any]:
    """Return the keys of a read of streams, for which redis-py asks a server each time; of other commands, none."""
    if str(command[0]).upper() not in ("XREAD", "XREADGROUP"):
        return []
    words = [word.upper() if isinstance(word, str | bytes) else word for word in command]
    names = command[words.index(b"STREAMS" if b"STREAMS" in words else "STREAMS") + 1 :]
    return list(names[: len(names) // 2])


class _Script(Script):
    """A script that is sent to the node that lacks it; redis-py loads it into all, and waits for one that hangs."""

    def __call__(self, keys: Sequence[Any] | None = None, args: Iterable[Any] | None = None, client: Any = None) -> Any:
        cluster, names = client or self.registered_client, keys or ()
        try:
            return cluster.evalsha(self.sha, len(names), *names, *(args or ()))
        except NoScriptError:
            return cluster.eval(str(self.script), len(names), *names, *(args or ()))


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
            self._send(stack)
        except RedisClusterException as error:
            raise ConnectionError(str(error)) from error
        for command in stack:
            if isinstance(command.result, ConnectionError | TimeoutError):
                command.result = self._away(command, command.result)
            elif refused(command.result):
                command.result = self._again(command)
        if raise_on_error:
            self._raise_first_error(stack, time.monotonic())  # type: ignore[no-untyped-call]
        return [command.result for command in stack]

    def _send(self, stack: list[PipelineCommand]) -> None:
        """Send what is for nodes that answer; what is for the others gets its error.

        Without a connection to each node that is asked, redis-py sends nothing to any: then leave those out.
        """
        away: dict[ClusterNode, NodeAway] = {}
        while waiting := self._without(away, stack) if away or self._cluster.hung else stack:
            try:
                self._send_cluster_commands(  # type: ignore[no-untyped-call]
                    waiting, raise_on_error=False, allow_redirections=False
                )
                return
            except (ConnectionError, TimeoutError):
                lost = self._unconnected({self._cluster.owner(*command.args) for command in waiting})
                if not lost:
                    raise
                away |= lost

    def _without(self, away: dict[ClusterNode, NodeAway], stack: list[PipelineCommand]) -> list[PipelineCommand]:
        """Give the commands for nodes that are away or hang their error. Returns the others."""
        owners = [self._cluster.owner(*command.args) for command in stack]
        errors = self._hanging(set(owners)) | away
        for command, owner in zip(stack, owners, strict=True):
            command.result = errors.get(owner)
        return [command for command in stack if command.result is None]

    def _hanging(self, nodes: set[ClusterNode]) -> dict[ClusterNode, NodeAway]:
        return {node: NodeAway(f"{node.name} hangs") for node in nodes if self._cluster.hung.hangs(node)}

    def _unconnected(self, nodes: set[ClusterNode]) -> dict[ClusterNode, NodeAway]:
        """Return the errors of those that hang or cannot be connected to."""
        found = self._hanging(nodes)
        for node in nodes - found.keys():
            pool = self._cluster.get_redis_connection(node).connection_pool
            try:
                pool.release(pool.get_connection())
            except (ConnectionError, TimeoutError) as error:
                found[node] = NodeAway(f"{node.name}: {error}")
        return found

    def _away(self, command: PipelineCommand, error: Exception) -> NodeAway:
        if isinstance(error, NodeAway):
            return error
        return NodeAway(f"{self._cluster.owner(*command.args).name}: {error}")

    def _again(self, command: PipelineCommand) -> Any:
        try:
            return self._cluster.execute_command(*command.args, **command.options)
        except RedisError as error:
            return error
