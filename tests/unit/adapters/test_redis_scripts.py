"""What the text of each Lua script must be like, so that it is whole or not at all while its slot moves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from redis import Redis

from s6.adapters.redis_client import RedisClient
from tests.support.lua_scripts import CASES, Case, Names, Stream, Zset, found_scripts, key, scripts
from tests.support.moving_slot import put

#: Commands that may leave a key without its last element, and so without itself.
DELETING = "DEL UNLINK GETDEL HDEL LTRIM LPOP RPOP LREM SREM SPOP ZREM ZREMRANGEBYSCORE ZREMRANGEBYRANK XDEL"
_CALL = re.compile(r"redis\.p?call\('(?P<command>[A-Z]+)',\s*(?P<key>[^,)]+(?:\[[^]]*\])?)")


def test_every_script_is_a_constant_of_its_module() -> None:
    assert [found.where for found in found_scripts() if not found.is_constant] == []


def test_every_script_has_its_cases() -> None:
    assert set(CASES) == set(scripts())


@pytest.mark.parametrize("where", sorted(scripts()))
def test_nothing_touches_a_key_after_what_may_have_deleted_it(where: str) -> None:
    assert touched_after_deletion(scripts()[where]) == []


@pytest.mark.parametrize(
    ("script", "touched"),
    [
        ("redis.call('DEL', KEYS[1])\nredis.call('HSET', KEYS[1], 'a', 1)", ["KEYS[1]"]),
        ("redis.call('UNLINK', KEYS[1])\nredis.call('DEL', KEYS[2])\nredis.call('SET', KEYS[1], 'a')", ["KEYS[1]"]),
        ("redis.call('LTRIM', KEYS[2], 1, -1)\nreturn redis.call('LLEN', KEYS[2])", ["KEYS[2]"]),
        ("if x then redis.call('DEL', KEYS[1]) return 0 end\nredis.call('SET', KEYS[1], 'a')", []),
        ("redis.call('DEL', KEYS[1])\nredis.call('SET', KEYS[2], 'a')", []),
    ],
)
def test_such_a_touch_is_seen(script: str, touched: list[str]) -> None:
    assert touched_after_deletion(script) == touched


def touched_after_deletion(script: str) -> list[str]:
    """Return the keys that a command touches after one that may have deleted them; a ``return`` ends the path."""
    touched = []
    calls = list(_CALL.finditer(script))
    for number, call in enumerate(calls):
        line_end = script.find("\n", call.end())
        rest_of_line = script[call.end() : line_end if line_end >= 0 else len(script)]
        if call["command"] not in DELETING.split() or re.search(r"\breturn\b", rest_of_line):
            continue
        if any(later["key"] == call["key"] for later in calls[number + 1 :]):
            touched.append(call["key"])
    return touched


@pytest.fixture
def redis(redis_client: RedisClient) -> Redis:
    assert isinstance(redis_client, Redis)
    return redis_client


@pytest.mark.parametrize("where", sorted(CASES))
def test_the_cases_of_a_script_go_through_each_of_its_commands(where: str, redis: Redis) -> None:
    counted, commands = _counting(scripts()[where])
    played: set[int] = set()
    for case in CASES[where]:
        redis.flushdb()
        for number, value in case.given.items():
            put(redis, key(number), value)
        answer: Any = redis.eval(counted, case.keys, *case.names(), *map(str, case.args))
        played.update(answer)
    assert played == set(range(1, commands + 1))


def _counting(script: str) -> tuple[str, int]:
    """Return the script so that it answers with the numbers of the commands it played, and how many there are."""
    numbers = iter(range(1, 1000))
    body, commands = re.subn(r"redis\.(p?call)\(", lambda m: f"played(redis.{m[1]}, {next(numbers)}, ", script)
    head = "local seen = {} local function played(f, n, ...) table.insert(seen, n) return f(...) end\n"
    return f"{head}local function script()\n{body}\nend\nscript()\nreturn seen", commands


def test_a_case_holds_what_it_says(redis: Redis) -> None:
    given: Case = Case(
        1, {1: Zset({"a": 1}), 2: Names({"b"}), 3: Stream([{"n": "1"}]), 4: ["c"], 5: {"d": "1"}, 6: "e"}, ()
    )
    for number, value in given.given.items():
        put(redis, key(number), value)
    types = [redis.type(key(number)) for number in given.given]
    assert types == ["zset", "set", "stream", "list", "hash", "string"]
