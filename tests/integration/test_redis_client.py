"""Clients that don't replay: a lost answer is an error, and the command was carried out once at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError, NoScriptError, RedisError, TimeoutError

from s6.adapters.redis_client import NODE_TIMEOUT_S, RedisClient, connect, servers
from s6.adapters.redis_nodes import NodeAway
from s6.standalone.redis_single import EmbeddedRedis
from tests.support.redis_cluster import EmbeddedCluster
from tests.support.redis_sentinel import EmbeddedSentinel
from tests.support.waiting import wait_for

# The server breaks off a connection rather than send an answer over its output limit: done, and the answer lost.
LIMIT = "normal 300000 0 0"
COUNT_AND_LOSE = "redis.call('INCR', KEYS[1]) return string.rep('x', 1000000)"


@pytest.fixture(params=["single", "sentinel", "cluster"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of Redis, losing long answers."""
    if request.param == "single":
        single: EmbeddedRedis = request.getfixturevalue("own_redis")
        servers, address = [single], single.url()
    elif request.param == "sentinel":
        guarded: EmbeddedSentinel = request.getfixturevalue("redis_sentinel")
        servers, address = guarded.servers, guarded.url()
    else:
        cluster: EmbeddedCluster = request.getfixturevalue("redis_cluster")
        servers, address = cluster.nodes, cluster.url()
    _limit_answers(servers, LIMIT)
    yield address
    _limit_answers(servers, "normal 0 0 0")


def _limit_answers(nodes: list[EmbeddedRedis], limit: str) -> None:
    for node in nodes:
        with node.client() as client:
            client.config_set("client-output-buffer-limit", limit)
            if client.info("replication")["role"] == "master":
                client.flushall()


def test_a_command_whose_answer_was_lost_is_not_sent_again(url: str) -> None:
    with connect(url) as client:
        with pytest.raises((ConnectionError, TimeoutError)):
            client.eval(COUNT_AND_LOSE, 1, "n")
        assert client.get("n") == "1"


def test_a_pipeline_whose_answers_were_lost_is_not_sent_again(url: str) -> None:
    with connect(url) as client:
        pipe = client.pipeline(transaction=False)
        pipe.incr("before")
        pipe.execute_command("EVAL", COUNT_AND_LOSE, 1, "n")
        pipe.incr("after")
        with pytest.raises((ConnectionError, TimeoutError)):
            pipe.execute()
        assert client.get("n") == "1"
        assert client.get("before") == "1"
        assert client.get("after") in (None, "1")


def test_redis_py_alone_does_send_it_again(own_redis: EmbeddedRedis) -> None:
    """Or else the tests above show nothing."""
    _limit_answers([own_redis], LIMIT)
    with Redis(port=own_redis.port, password=own_redis.password, decode_responses=True) as client:
        with pytest.raises(RedisError):
            client.eval(COUNT_AND_LOSE, 1, "n")
        assert int(str(client.get("n"))) > 1


def test_the_next_command_connects_anew(own_redis: EmbeddedRedis) -> None:
    with connect(own_redis.url()) as client:
        client.set("kept", "yes")
        own_redis.restart()
        assert client.get("kept") == "yes"
        own_redis.kill()
        with pytest.raises(ConnectionError):
            client.get("kept")
        own_redis.start()
        assert client.get("kept") == "yes"


def test_a_frozen_server_times_out_and_is_used_again_when_it_thaws(own_redis: EmbeddedRedis) -> None:
    with connect(own_redis.url(), socket_timeout=0.3) as client:
        client.set("n", 1)
        own_redis.freeze()
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            client.incr("n")
        assert time.monotonic() - began < 2
        own_redis.thaw()
        wait_for(lambda: client.get("n") == "2", what="the command, carried out late and once")


def test_a_blocking_client_waits_longer_than_a_plain_one(own_redis: EmbeddedRedis) -> None:
    with connect(own_redis.url(), blocking=True) as client:
        client.xgroup_create("s", "g", mkstream=True)
        began = time.monotonic()
        assert client.xreadgroup("g", "c", {"s": ">"}, block=3500) == []
        assert time.monotonic() - began >= 3.4


def test_one_client_serves_many_threads(url: str) -> None:
    with connect(url) as client, ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(lambda: [client.incr("n") for _ in range(50)]) for _ in range(8)]:
            done.result()
        assert client.get("n") == "400"


def test_a_script_is_loaded_where_it_is_missing(url: str) -> None:
    with connect(url) as client:
        script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        assert script(keys=["n"], args=[2]) == 2
        client.script_flush()
        with pytest.raises(NoScriptError):
            client.evalsha(script.sha, 1, "n", 1)
        assert script(keys=["n"], args=[3]) == 5


def test_sentinel_clients_follow_the_master(tmp_path: Path) -> None:
    with EmbeddedSentinel(tmp_path) as guarded, connect(guarded.url()) as client:
        client.set("n", 1)
        client.execute_command("WAIT", 1, 2000)
        former = guarded.master()
        former.kill()

        def counted() -> bool:
            with suppress(RedisError):
                return bool(client.incr("n"))
            return False

        wait_for(counted, 20, "the replica takes over")
        assert guarded.master() is not former
        assert client.get("n") == "2"


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_migrating_slot_neither_loses_nor_doubles_a_count(redis_cluster: EmbeddedCluster, pipelined: bool) -> None:
    keys = [f"{{moving}}:{number}" for number in range(40)]
    both = "return {redis.call('INCR', KEYS[1]), redis.call('INCR', KEYS[2])}"
    over = threading.Event()
    with connect(redis_cluster.url()) as client:
        assert isinstance(client, RedisCluster)
        client.delete(*keys)
        client.mset_nonatomic(dict.fromkeys(keys, 0))

        def count() -> int:
            rounds = 0
            while not over.is_set():
                _round(client, keys, both, pipelined)
                rounds += 1
            return rounds

        with ThreadPoolExecutor(2) as threads:
            counting = [threads.submit(count) for _ in range(2)]
            source = redis_cluster.owner_of_key(keys[0])
            for to in [node for node in redis_cluster.nodes if node is not source] + [source]:
                assert redis_cluster.migrate(client.keyslot(keys[0]), to, pause_s=0.005) == len(keys)
            over.set()
            rounds = sum(done.result() for done in counting)
        assert rounds > 0
        assert {int(str(client.get(key))) for key in keys} == {rounds}


def _round(client: RedisClient, keys: list[str], both: str, pipelined: bool) -> None:
    """Count every key once, half of them by scripts over two keys, which a migrating slot may hold up."""
    pipe = client.pipeline(transaction=False)
    execute = pipe.execute_command if pipelined else client.execute_command
    for first, second in zip(keys[0:20:2], keys[1:20:2], strict=True):
        execute("EVAL", both, 2, first, second)
    for key in keys[20:]:
        execute("INCR", key)
    pipe.execute()


def test_a_pipeline_takes_scripts_and_messages_on_every_kind(url: str) -> None:
    with connect(url) as client, client.pubsub() as listening:
        listening.subscribe("news")
        wait_for(lambda: listening.get_message(timeout=0.1), what="the subscription")
        script = client.register_script("return redis.call('INCR', KEYS[1])")
        script(keys=["n"])
        pipe = client.pipeline(transaction=False)
        pipe.evalsha(script.sha, 1, "n")
        pipe.eval("return redis.call('INCR', KEYS[1])", 1, "n")
        pipe.publish("news", "told")
        assert pipe.execute()[:2] == [2, 3]
        assert wait_for(lambda: listening.get_message(timeout=0.1), what="the message")["data"] == "told"


def test_a_cluster_out_of_reach_is_a_redis_error() -> None:
    with pytest.raises(ConnectionError):
        connect("redis+cluster://127.0.0.1:1")


def test_which_servers_hold_the_data_is_told_by_their_run_ids(url: str) -> None:
    with connect(url) as client:
        told = servers(client).split()
        assert told == sorted(set(told)) and {len(run_id) for run_id in told} == {40}
        assert len(told) == (3 if isinstance(client, RedisCluster) else 1)
        assert servers(client).split() == told


def test_a_restarted_server_is_another(own_redis: EmbeddedRedis) -> None:
    with connect(own_redis.url()) as client:
        before = servers(client)
        own_redis.stop()
        own_redis.start()
        wait_for(lambda: _answered(client), 10, "the server is back")
        assert servers(client) not in ("", before)


def test_after_a_failover_it_is_another(tmp_path: Path) -> None:
    with EmbeddedSentinel(tmp_path) as sentinel, connect(sentinel.url()) as client:
        before, old = servers(client), sentinel.master()
        old.kill()
        wait_for(lambda: sentinel.master() is not old, 20, "another master")
        wait_for(lambda: _answered(client), 10, "it answers")
        assert servers(client) not in ("", before)


def test_who_may_not_ask_is_told_nothing(own_redis: EmbeddedRedis) -> None:
    with own_redis.client() as admin:
        admin.execute_command("ACL SETUSER", "plain", "on", ">secret", "~*", "&*", "+@all", "-info")
    url = own_redis.url().replace(f":{own_redis.password}@", "plain:secret@")
    with connect(url) as client:
        assert client.ping() and servers(client) == ""


def _answered(client: RedisClient) -> bool:
    try:
        return bool(servers(client))
    except RedisError:
        return False


def test_bytes_that_are_no_text_are_read_by_every_way(url: str) -> None:
    with connect(url) as client, connect(url, decode_responses=False) as raw:
        raw.xadd("odd", {b"k\xfe": b"\xff"})
        raw.set("plain", b"\xffx")
        raw.sadd("set", b"\xff")
        raw.hset("hash", b"\xfe", b"\xff")
        assert client.xrange("odd")[0][1] == {"k\udcfe": "\udcff"}
        assert client.get("plain") == "\udcffx"
        assert client.smembers("set") == {"\udcff"}
        assert client.hgetall("hash") == {"\udcfe": "\udcff"}
        pipe = client.pipeline(transaction=False)
        pipe.get("plain")
        assert pipe.execute() == ["\udcffx"]
        news = client.pubsub(ignore_subscribe_messages=True)
        news.subscribe("news")
        wait_for(lambda: news.get_message(timeout=0.1) or news.subscribed, 5)
        raw.publish("news", b"\xff{}")
        message = wait_for(lambda: news.get_message(timeout=0.5), 5)
        assert message["data"] == "\udcff{}"
        news.close()


def test_a_node_that_hangs_is_waited_for_once_and_holds_up_nothing_on_others(tmp_path: Path) -> None:
    with EmbeddedCluster(tmp_path, {"cluster-node-timeout": "10000"}) as cluster, connect(cluster.url()) as client:
        assert isinstance(client, RedisCluster)
        names = {node.port: _name_on(client, node.port) for node in cluster.nodes}
        hung = cluster.nodes[0]
        for name in names.values():
            client.set(name, name)
            client.xadd(f"{{{name}}}:stream", {"n": "1"})
        client.set_default_node(client.get_node_from_key(names[hung.port]))  # it is asked which keys a command has
        hung.freeze()
        for longest_s in (NODE_TIMEOUT_S + 0.8, 0.7, 0.7):
            began = time.monotonic()
            pipe = client.pipeline(transaction=False)
            for name in names.values():
                pipe.get(name)
                pipe.xread({f"{{{name}}}:stream": "0"})
            answers: list[Any] = pipe.execute(raise_on_error=False)
            assert time.monotonic() - began < longest_s
            for (port, name), answer, entries in zip(names.items(), answers[::2], answers[1::2], strict=True):
                if port == hung.port:
                    assert isinstance(answer, NodeAway) and isinstance(entries, NodeAway)
                else:
                    assert answer == name and len(entries) == 1
            with pytest.raises(NodeAway):
                client.get(names[hung.port])
        assert client.publish("news", "told") == 0  # through another node
        hung.thaw()
        wait_for(lambda: _value(client, names[hung.port]), 5, "the node answers again")


def _name_on(client: RedisCluster, port: int) -> str:
    return next(name for name in map(str, range(1000)) if client.get_node_from_key(name).port == port)


def _value(client: RedisClient, name: str) -> object:
    try:
        return client.get(name)
    except NodeAway:
        return None
