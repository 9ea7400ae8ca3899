"""Connections to Redis (single, Sentinel, Cluster) that never send a command twice by themselves.

redis-py replays a command whose answer was lost: an ``INCR`` counts twice, a ``SET NX`` of a lock says "taken" of our
own lock, a compare-and-set reports that another was faster. Here a lost answer is an error, and the caller finds out
what happened. The next command opens a broken connection anew.
"""

from __future__ import annotations

from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoPermissionError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel

from s6.adapters.redis_cluster import HonestCluster
from s6.urls import RedisTarget, parse_redis

RedisClient = Redis | RedisCluster

CONNECT_TIMEOUT_S: Final = 1.0
ANSWER_TIMEOUT_S: Final = 3.0
#: Of one node of a cluster, ``blocking`` or not: the others go on, and nothing blocks across slots. It is longer
#: than it takes to find that a node hangs (``s6.adapters.redis_nodes``).
NODE_TIMEOUT_S: Final = 0.7
#: Of a ``blocking`` client; commands may block the server side for `LONGEST_BLOCK_MS`, the rest is for the answer.
BLOCKING_TIMEOUT_S: Final = 8.0
LONGEST_BLOCK_MS: Final = 5000
HEALTH_CHECK_S: Final = 15


def connect(target: RedisTarget | str, *, blocking: bool = False, **overrides: Any) -> RedisClient:
    """Return a client for ``target``; threads may share it, forked processes may not.

    Answers are decoded to ``str``, bytes that are not UTF-8 to lone surrogates (``surrogateescape``): no answer is too
    odd to be read. Such text cannot be sent again (``s6.model.wire.printable``).
    Errors are ``redis.exceptions.RedisError``: after a ``ConnectionError`` or ``TimeoutError`` the command may or may
    not have been carried out. Only what the server refused to carry out is sent again (a cluster's redirections).
    Single and Sentinel clients connect with the first command, those of a Cluster at once.

    Parameters
    ----------
    target
        Where Redis is: a parsed target or a URL (``s6.urls.parse_redis``; ValueError when it is none).
    blocking
        For ``XREADGROUP … BLOCK`` and its like, up to ``LONGEST_BLOCK_MS``: waits longer for an answer.
    overrides
        redis-py's own connection arguments, over these defaults.

    Notes
    -----
    Pipelines save round trips and are no transactions: make them with ``pipeline(transaction=False)``, which works on
    all three kinds. A cluster's pipeline may span slots, a script's keys may not. ``SCAN`` of a whole cluster goes by
    ``scan_iter``; a single ``scan`` returns a cursor per node.
    """
    where = parse_redis(target) if isinstance(target, str) else target
    options = _options(where, blocking)
    if where.kind == "cluster":
        return _cluster(where, options | {"socket_timeout": NODE_TIMEOUT_S} | overrides)
    options |= {"retry": no_retry(), "health_check_interval": HEALTH_CHECK_S, "db": where.db}
    if where.kind == "sentinel":
        return _sentinel(where, options | overrides)
    host, port = where.nodes[0]
    return Redis(host=host, port=port, **options | overrides)


def servers(redis: RedisClient) -> str:
    """Return the run ids of the servers that hold the data, which change with a restart or a failover.

    Returns an empty text where S6 may not ask. Raises ``RedisError``.
    """
    nodes = {"target_nodes": RedisCluster.PRIMARIES} if isinstance(redis, RedisCluster) else {}
    try:
        info: Any = redis.info("server", **nodes)
    except NoPermissionError:
        return ""
    found = info.values() if nodes and "run_id" not in info else [info]
    return " ".join(sorted(str(server.get("run_id", "")) for server in found)).strip()


def no_retry() -> Retry:
    return Retry(NoBackoff(), 0)


def _options(target: RedisTarget, blocking: bool) -> dict[str, Any]:
    tls: dict[str, Any] = {"ssl": True, **target.tls_options} if target.tls else {}
    return {
        "username": target.username,
        "password": target.password,
        "decode_responses": True,
        "encoding_errors": "surrogateescape",
        "protocol": 2,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "socket_timeout": BLOCKING_TIMEOUT_S if blocking else ANSWER_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        "max_connections": 256,
    } | tls


def _sentinel(target: RedisTarget, options: dict[str, Any]) -> Redis:
    asking: dict[str, Any] = {
        "socket_timeout": CONNECT_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "protocol": 2,
        "retry": no_retry(),
        **{name: value for name, value in options.items() if name.startswith("ssl")},
        **target.sentinel_kwargs,
    }
    sentinels = Sentinel(target.nodes, sentinel_kwargs=asking)
    master: Redis = sentinels.master_for(target.service, **options)
    return master


def _cluster(target: RedisTarget, options: dict[str, Any]) -> RedisCluster:
    seeds = [ClusterNode(host, port) for host, port in target.nodes]
    return HonestCluster(startup_nodes=seeds, retry=no_retry(), **options)
