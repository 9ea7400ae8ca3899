"""A slot of a real cluster held open between two of its nodes, some of its keys here and some there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import AskError, RedisError

from s6.standalone.redis_server import HOST
from tests.support.lua_scripts import TAG, Names, Stream, Value, Zset
from tests.support.redis_cluster import EmbeddedCluster

READ: Final[Mapping[str, tuple[str, ...]]] = {
    "stream": ("XINFO", "STREAM"),
    "zset": ("ZRANGE",),
    "set": ("SMEMBERS",),
    "hash": ("HGETALL",),
    "list": ("LRANGE",),
    "string": ("GET",),
}
ALL: Final[Mapping[str, tuple[object, ...]]] = {
    "stream": ("FULL",),
    "zset": (0, -1, "WITHSCORES"),
    "list": (0, -1),
}
Contents = Mapping[str, tuple[str, object, bool]]


def put(redis: Any, name: str, value: Value) -> None:
    """Write a case's value under a key that is not there."""
    if isinstance(value, Stream):
        for fields in value:
            redis.xadd(name, fields)
        redis.xgroup_create(name, "s6", id="$")
        for consumer in ("gone", "us"):
            redis.execute_command("XGROUP", "CREATECONSUMER", name, "s6", consumer)
    elif isinstance(value, Zset):
        redis.zadd(name, value)
    elif isinstance(value, Names):
        redis.sadd(name, *value)
    elif isinstance(value, dict):
        redis.hset(name, mapping=value)
    elif isinstance(value, list):
        redis.rpush(name, *value)
    else:
        redis.set(name, value)


class MovingSlot:
    """The slot of ``TAG``, on its way from ``source`` to ``target``."""

    def __init__(self, cluster: EmbeddedCluster, source: Redis, target: Redis, target_port: int) -> None:
        self.slot = key_slot(TAG.encode())
        self._cluster, self._source, self._target, self._target_port = cluster, source, target, target_port
        self._source_id, self._target_id = (str(n.execute_command("CLUSTER", "MYID")) for n in (source, target))

    def fill(self, given: Mapping[str, Value], *, moved: Collection[str] | None = None) -> None:
        """Empty both nodes and put these into the source; then open the slot, if any or none of them has ``moved``.

        A node writes its configuration to the disk once for all that it gets at once, and that is what takes long.
        """
        target: Any = self._target.pipeline(transaction=False)
        target.flushall()
        target.execute_command("CLUSTER", "SETSLOT", self.slot, "IMPORTING", self._source_id)
        target.execute()
        source: Any = self._source.pipeline(transaction=False)
        source.flushall()
        source.execute_command("CLUSTER", "SETSLOT", self.slot, "STABLE")
        for name, value in given.items():
            put(source, name, value)
        if moved is not None:
            source.execute_command("CLUSTER", "SETSLOT", self.slot, "MIGRATING", self._target_id)
        source.execute()
        self.move(moved or ())

    def close(self) -> None:
        """Close the slot, and leave both nodes empty."""
        self.fill({})
        self._target.execute_command("CLUSTER", "SETSLOT", self.slot, "STABLE")

    def move(self, names: Collection[str]) -> None:
        """Move these keys to the target."""
        if names:
            where = (HOST, self._target_port, "", 0, 5000, "AUTH", self._cluster.password)
            self._source.execute_command("MIGRATE", *where, "KEYS", *names)

    def play(self, script: str, names: Sequence[str], args: Sequence[object]) -> object:
        """Run a script as any client does: at the source, or at the target if that is the source's word.

        Returns its answer, or the error in its place.
        """
        command = ("EVAL", script, len(names), *names, *map(str, args))
        try:
            return self._source.execute_command(*command)
        except AskError:
            self._target.execute_command("ASKING")
        except RedisError as error:
            return error
        try:
            return self._target.execute_command(*command)
        except RedisError as error:
            return error

    def contents(self) -> Contents:
        """Return what both nodes hold, by key: its type, its content, whether it expires. No key is on both."""
        here, there = (_contents(node, self.slot) for node in (self._source, self._target))
        assert not here.keys() & there.keys(), "a key stands on both nodes"
        return {**here, **there}


@contextmanager
def moving_slot(cluster: EmbeddedCluster) -> Iterator[MovingSlot]:
    """Give the slot to two of the cluster's nodes to play with; it is closed at the end."""
    owner = cluster.owner(key_slot(TAG.encode()))
    other = next(node for node in cluster.nodes if node is not owner)
    with owner.client(single_connection_client=True) as source, other.client(single_connection_client=True) as target:
        slot = MovingSlot(cluster, source, target, other.port)
        yield slot
        slot.close()


def _contents(node: Any, slot: int) -> dict[str, tuple[str, object, bool]]:
    names = [str(name) for name in node.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1000)]
    kinds = [str(kind) for kind in _ask(node, [("TYPE", name) for name in names])]
    contents = _ask(node, [(*READ[kind], name, *ALL.get(kind, ())) for name, kind in zip(names, kinds, strict=True)])
    expiries = _ask(node, [("PTTL", name) for name in names])
    found = zip(names, kinds, contents, expiries, strict=True)
    return {name: (kind, _without_ids(kind, content), expiry > 0) for name, kind, content, expiry in found}


def _ask(node: Any, commands: Collection[tuple[object, ...]]) -> list[Any]:
    pipe = node.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command("ASKING")
        pipe.execute_command(*command)
    return list(pipe.execute()[1::2])


def _without_ids(kind: str, content: Any) -> object:
    """Return what compares: a stream's ids are times, its groups stand at one of them; a set has no order."""
    if kind == "stream":
        names = ("entries", "groups")
        told = dict(zip(content[::2], content[1::2], strict=True)) if isinstance(content, list) else dict(content)
        entries, groups = (told[name] for name in names)
        return repr([fields for _, fields in entries]), repr([_consumers(group) for group in groups])
    return sorted(content) if kind == "set" else content


def _consumers(group: Any) -> object:
    told = dict(zip(group[::2], group[1::2], strict=True)) if isinstance(group, list) else dict(group)
    return told["name"], [consumer[1] for consumer in told["consumers"]]
