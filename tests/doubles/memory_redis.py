"""A Redis in memory: just the commands and scripts that ``RedisState`` sends, with the same answers.

Single-threaded, on a clock of its own, and with a hook around each command, so that a simulation can let the sender
die, or the answer be lost, between any two of them. The scripts of ``s6.adapters.redis_scripts`` are played in Python;
``tests/contract`` holds this double and a real server to the same behaviour and the same times to live.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from fnmatch import fnmatchcase
from hashlib import sha1
from typing import Any, Final, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from s6.adapters import redis_scripts as lua
from s6.ports import Clock

After = Callable[[], None] | None
Copied = tuple[dict[str, Any], dict[str, int]]
Hook = Callable[[str, str, bool], After]
"""Called before a command with its name, its key and whether it writes; what it gives is called after the command."""

READS: Final = frozenset(
    {"get", "hget", "hlen", "hmget", "hgetall", "scard", "hvals", "hkeys", "smembers", "sscan_iter", "zrange",
     "zrangebyscore", "zrangebylex", "zscore", "zmscore", "info", "lrange", "llen", "exists", "pttl"}
)  # fmt: skip


def no_hook(name: str, key: str, writes: bool) -> After:
    """Nothing goes wrong."""
    return None


class Written(NamedTuple):
    """What stood under a position's keys before a commit, or stands after it."""

    state: dict[str, str]
    op: dict[str, str]
    orders: dict[str, str]


class MemoryRedis:
    """Answers are text, as with ``decode_responses``. ``published`` and ``appended`` are told of PUBLISH and XADD,
    ``committed`` of a position before and after each commit."""

    def __init__(self, clock: Clock, hook: Hook = no_hook) -> None:
        self._clock = clock
        self.hook = hook
        self.data: dict[str, Any] = {}
        self._expires: dict[str, int] = {}
        self.published: Callable[[str, str], None] = lambda channel, text: None
        self.appended: Callable[[str, dict[str, str]], None] = lambda stream, fields: None
        self.committed: Callable[[Written, Written], None] = lambda before, after: None
        self._scripts = {
            lua.COMMIT: self._commit,
            lua.SETTLED: self._settled,
            lua.RELEASE: self._release,
            lua.PROLONG: self._prolong,
            lua.PUT_NEWER: self._put_newer,
            lua.SWAP: self._swap,
            lua.RESERVE: self._swapped,
            lua.TAKE_OFF: self._take_off,
            lua.PRUNE: self._prune,
            lua.DROP_IF: self._drop_if,
            lua.RELAYED: self._relayed,
            lua.DROP_TO: self._drop_to,
            lua.DONE_UNLESS_MORE: self._done_unless_more,
            lua.QUOTA: self._quota,
            lua.FORGET: self._forget,
        }
        self._by_sha = {sha1(text.encode()).hexdigest(): play for text, play in self._scripts.items()}
        self._loaded: set[str] = set()
        self._run = 1

    def __getattr__(self, name: str) -> Callable[..., Any]:
        command: Callable[..., Any] = object.__getattribute__(self, f"do_{name}")
        writes = name not in READS

        def send(key: str, *args: Any, **kwargs: Any) -> Any:
            after = self.hook(name, key, writes)
            answer = command(key, *args, **kwargs)
            if after is not None:
                after()
            return answer

        self.__dict__[name] = send
        return send

    def pipeline(self, transaction: bool = True) -> MemoryPipe:
        assert not transaction, "a transaction can't span the slots of a cluster"
        return MemoryPipe(self)

    def register_script(self, script: str) -> MemoryScript:
        return MemoryScript(self, sha1(script.encode()).hexdigest(), self._scripts[script].__name__)

    def do_evalsha(self, sha: str, count: int, *args: Any) -> Any:
        if sha not in self._loaded:
            raise NoScriptError("NOSCRIPT No matching script. Please use EVAL.")
        return self.play(sha, list(args[:count]), list(args[count:]))

    def play(self, sha: str, keys: list[str], args: list[Any]) -> Any:
        """Run a script; from now on it is known by its digest."""
        self._loaded.add(sha)
        return self._by_sha[sha](keys, [_text(arg) for arg in args])

    def flushall(self) -> None:
        """Everything is gone, scripts included: a new server."""
        self.data.clear()
        self._expires.clear()
        self._loaded.clear()
        self._run += 1

    def copied(self) -> Copied:
        """All there is, as a replica has it."""
        return deepcopy(self.data), dict(self._expires)

    def fail_over(self, replica: Copied) -> None:
        """A replica takes over: whatever was written since it was copied is lost."""
        self.flushall()
        self.data, self._expires = deepcopy(replica[0]), dict(replica[1])

    def do_info(self, section: str) -> dict[str, str]:
        """As far as a server is told from the one before it."""
        return {"run_id": f"run-{self._run}"}

    # -- strings -----------------------------------------------------------------------------------------------

    def _live(self, key: str) -> Any:
        until = self._expires.get(key)
        if until is not None and until <= self._clock.now_ms():
            del self._expires[key]
            self.data.pop(key, None)
        return self.data.get(key)

    def do_get(self, key: str) -> str | None:
        value: str | None = self._live(key)
        return value

    def do_set(self, key: str, value: object, *, nx: bool = False, px: int | None = None) -> bool | None:
        if nx and self._live(key) is not None:
            return None
        self.data[key] = str(value)
        self._expires.pop(key, None)
        if px is not None:
            self._expires[key] = self._clock.now_ms() + px
        return True

    def do_exists(self, key: str) -> int:
        return int(self._live(key) is not None)

    def do_pttl(self, key: str) -> int:
        if self._live(key) is None:
            return -2
        until = self._expires.get(key)
        return -1 if until is None else until - self._clock.now_ms()

    def do_pexpire(self, key: str, ms: int) -> int:
        if self._live(key) is None:
            return 0
        self._expires[key] = self._clock.now_ms() + ms
        return 1

    def do_delete(self, key: str) -> int:
        self._expires.pop(key, None)
        return int(self.data.pop(key, None) is not None)

    # -- hashes ------------------------------------------------------------------------------------------------

    def do_hget(self, key: str, name: str) -> str | None:
        found: str | None = (self._live(key) or {}).get(name)
        return found

    def do_hgetall(self, key: str) -> dict[str, str]:
        return dict(self._live(key) or {})

    def do_hmget(self, key: str, names: Sequence[str]) -> list[str | None]:
        found = self._live(key) or {}
        return [found.get(name) for name in names]

    def do_hlen(self, key: str) -> int:
        return len(self._live(key) or {})

    def do_hvals(self, key: str) -> list[str]:
        return list((self._live(key) or {}).values())

    def do_hkeys(self, key: str) -> list[str]:
        return list(self._live(key) or {})

    def do_hset(self, key: str, mapping: Mapping[str, object]) -> int:
        self._hash(key).update({name: str(value) for name, value in mapping.items()})
        return len(mapping)

    def do_hdel(self, key: str, *names: str) -> int:
        return self._remove(key, names)

    def _hash(self, key: str) -> dict[str, str]:
        self._live(key)
        found: dict[str, str] = self.data.setdefault(key, {})
        return found

    def _remove(self, key: str, names: Sequence[str]) -> int:
        """Take members off a hash, a set or a sorted set; an empty one is no more."""
        members = self._live(key) or {}
        removed = sum(members.pop(name, None) is not None for name in names)
        if not members:
            self.do_delete(key)
        return removed

    # -- sets (kept as dicts, for a stable order) --------------------------------------------------------------

    def do_sadd(self, key: str, *names: str) -> int:
        members = self._hash(key)
        added = [name for name in names if name not in members]
        members.update(dict.fromkeys(added, "1"))
        return len(added)

    def do_srem(self, key: str, *names: str) -> int:
        return self._remove(key, names)

    def do_scard(self, key: str) -> int:
        return len(self._live(key) or {})

    def do_smembers(self, key: str) -> list[str]:
        return list(self._live(key) or {})

    def do_sscan_iter(self, key: str, count: int) -> Iterator[str]:
        return iter(list(self._live(key) or {}))

    # -- sorted sets -------------------------------------------------------------------------------------------

    def _scored(self, key: str) -> dict[str, float]:
        found: dict[str, float] = self._live(key) or {}
        return found

    def _sorted(self, key: str) -> list[tuple[str, float]]:
        return sorted(self._scored(key).items(), key=lambda item: (item[1], item[0]))

    def do_zadd(
        self,
        key: str,
        mapping: Mapping[str, float],
        nx: bool = False,
        lt: bool = False,
        gt: bool = False,
        ch: bool = False,
    ) -> int:
        self._live(key)
        scores: dict[str, float] = self.data.setdefault(key, {})
        added = {name for name in mapping if name not in scores}
        new = {
            name: float(score)
            for name, score in mapping.items()
            if name in added
            or not (nx or (lt and float(score) >= scores[name]) or (gt and float(score) <= scores[name]))
        }
        changed = sum(scores.get(name) != score for name, score in new.items())
        scores.update(new)
        return changed if ch else len(added)

    def do_zincrby(self, key: str, amount: float, name: str) -> float:
        self._live(key)
        scores: dict[str, float] = self.data.setdefault(key, {})
        scores[name] = scores.get(name, 0.0) + amount
        return scores[name]

    def do_zrem(self, key: str, *names: str) -> int:
        return self._remove(key, names)

    def do_zremrangebyrank(self, key: str, low: int, high: int) -> int:
        assert low == 0 and high < 0
        return self._remove(key, [name for name, _ in self._sorted(key)[: max(0, len(self._scored(key)) + high + 1)]])

    def do_zscore(self, key: str, name: str) -> float | None:
        return self._scored(key).get(name)

    def do_zmscore(self, key: str, names: Sequence[str]) -> list[float | None]:
        return [self._scored(key).get(name) for name in names]

    def do_zrange(self, key: str, start: int, end: int, withscores: bool = False) -> list[Any]:
        rows = self._sorted(key)[start : None if end == -1 else end + 1]
        return rows if withscores else [name for name, _ in rows]

    def do_zrangebyscore(
        self, key: str, low: str | float, high: str | float, start: int | None = None, num: int | None = None
    ) -> list[str]:
        found = [name for name, score in self._sorted(key) if float(low) <= score <= float(high)]
        return found if start is None or num is None else found[start : start + num]

    def do_zrangebylex(self, key: str, low: str, high: str, start: int, num: int) -> list[str]:
        names = sorted(self._scored(key))
        if low != "-":
            names = [n for n in names if (n > low[1:] if low[0] == "(" else n >= low[1:])]
        if high != "+":
            names = [n for n in names if (n < high[1:] if high[0] == "(" else n <= high[1:])]
        return names[start : start + num]

    # -- lists, streams, channels ------------------------------------------------------------------------------

    def _list(self, key: str) -> list[str]:
        found: list[str] = self._live(key) or []
        return found

    def do_lrange(self, key: str, start: int, end: int) -> list[str]:
        return self._list(key)[start : None if end == -1 else end + 1]

    def do_llen(self, key: str) -> int:
        return len(self._list(key))

    def _push(self, key: str, texts: Sequence[str]) -> None:
        if texts:
            self.data.setdefault(key, []).extend(texts)

    def _trim(self, key: str, count: int) -> None:
        """LTRIM key count -1."""
        rest = self._list(key)[count:]
        if rest:
            self.data[key] = rest
        else:
            self.do_delete(key)

    def do_xadd(self, key: str, fields: Mapping[str, str], maxlen: int | None = None, approximate: bool = True) -> str:
        self.appended(key, dict(fields))
        return "0-0"

    def do_publish(self, key: str, text: str) -> int:
        self.published(key, text)
        return 1

    # -- scripts -----------------------------------------------------------------------------------------------

    def _commit(self, keys: list[str], args: list[str]) -> int:
        token, expected, payload, *kind = args
        if token and self._live(keys[0]) != token:
            return -1
        if self._hash(keys[1]).get("rev", "0") != expected:
            if not self.data[keys[1]]:
                del self.data[keys[1]]
            return 0
        if kind == ["birth"] and self._live(keys[9]) is not None:
            if not self.data[keys[1]]:
                del self.data[keys[1]]
            return 0
        before, change = self._written(keys), json.loads(payload)
        state = self.data[keys[1]]
        was = dict(state)
        state.update(_pairs(change["state"]))
        for key, name in zip(keys[2:6], ("sl", "tp", "adds", "op"), strict=True):
            digest, fields = change[name]
            if (was.get(f"_{name}") == digest and not change["whole"]) or (not fields and self.do_delete(key) >= 0):
                continue
            self._hash(key).update(_pairs(fields))
        if change["orders"]:
            self._hash(keys[6]).update(_pairs(change["orders"]))
        for _, (stream, _, _, _, _, *fields) in change["told"]:
            self.do_xadd(stream, _pairs(fields))
        self._push(keys[7], change["events"])
        self._push(keys[8], change["snaps"])
        for name, key, *args in change["beside"]:
            self._beside(name, key, args)
        if kind:
            self.do_delete(keys[9])
        self.committed(before, self._written(keys))
        return 1

    def _beside(self, name: str, key: str, args: list[str]) -> None:
        """Play one command that a commit carries for another slot."""
        if name == "ZADD":
            *flags, score, member = args
            self.do_zadd(key, {member: float(score)}, gt=flags == ["GT"])
        elif name == "SADD":
            self.do_sadd(key, *args)
        else:
            assert name == "PUBLISH"
            self.do_publish(key, *args)

    def _written(self, keys: list[str]) -> Written:
        return Written(*(self.do_hgetall(keys[i]) for i in (1, 5, 6)))

    def _settled(self, keys: list[str], args: list[str]) -> int:
        if self.do_hget(keys[0], "rev") != args[0]:
            return 0
        self.do_zadd(keys[1], {args[1]: float(args[2])})
        self.do_srem(keys[2], args[1])
        return 1

    def _release(self, keys: list[str], args: list[str]) -> int:
        return self.do_delete(keys[0]) if self._live(keys[0]) == args[0] else 0

    def _prolong(self, keys: list[str], args: list[str]) -> int:
        return int(self.do_pexpire(keys[0], int(args[1]))) if self._live(keys[0]) == args[0] else 0

    def _put_newer(self, keys: list[str], args: list[str]) -> int:
        have = self.do_hget(keys[0], "ts")
        if have and int(args[0]) < int(have) <= int(args[1]):
            return 0
        self._hash(keys[0]).update(_pairs(args[2:]))
        return 1

    def _prune(self, keys: list[str], args: list[str]) -> int:
        gone = [name for name, text in _pairs(args).items() if self.do_hget(keys[0], name) == text]
        return self._remove(keys[0], gone)

    def _take_off(self, keys: list[str], args: list[str]) -> int:
        text = self.do_hget(keys[0], args[0])
        return self.do_hdel(keys[0], args[0]) if text is not None and text.startswith(args[1]) else 0

    def _swapped(self, keys: list[str], args: list[str]) -> int:
        if (self.do_hget(keys[0], "n") or "") != args[0]:
            return 0
        self._hash(keys[0]).update(_pairs(args[1:]))
        return 1

    def _swap(self, keys: list[str], args: list[str]) -> int:
        return self._swapped(keys, args) and self.do_pexpire(keys[0], 600_000)

    def _drop_if(self, keys: list[str], args: list[str]) -> int:
        return self.do_delete(keys[0]) if self.do_hget(keys[0], "n") == args[0] else 0

    def _relayed(self, keys: list[str], args: list[str]) -> int:
        claim, waiting = keys
        if self._live(claim) != args[0]:
            return -1
        self._trim(waiting, int(args[1]))
        left = self.do_llen(waiting)
        if not left:
            self.do_delete(claim)
        return left

    def _drop_to(self, keys: list[str], args: list[str]) -> int:
        count, rows = int(args[0]), self._list(keys[0])
        if 0 < count <= len(rows) and json.loads(rows[count - 1])["_key"] == args[1]:
            self._trim(keys[0], count)
        return self.do_llen(keys[1])

    def _done_unless_more(self, keys: list[str], args: list[str]) -> int:
        scores = self._scored(keys[0])
        seen = {name: float(score) for name, score in _pairs(args).items()}
        return self._remove(keys[0], [name for name in seen if name in scores and scores[name] <= seen[name]])

    def _quota(self, keys: list[str], args: list[str]) -> int:
        move, expected, new, now, keep_from = args
        if move in self._scored(keys[1]):
            return 0
        if (self.do_get(keys[0]) or "") != expected:
            return -1
        self.data[keys[0]] = new
        self.do_zadd(keys[1], {move: float(now)})
        old = [name for name, score in self._scored(keys[1]).items() if score < float(keep_from)]
        self._remove(keys[1], old)
        return 1

    def scan_iter(self, match: str, count: int = 0) -> Iterator[str]:
        return iter(self.scan(match))

    def _forget(self, keys: list[str], args: list[str]) -> int:
        status, rev = self.do_hmget(keys[1], ["status", "rev"])
        if status != "CLOSED" or rev != args[0] or self.do_llen(keys[2]) + self.do_llen(keys[3]):
            return 0
        self._hash(keys[0]).update(_pairs(args[1:]))
        for key in keys[1:]:
            self.do_delete(key)
        return 1

    def scan(self, match: str) -> list[str]:
        """Names of keys, for judges: nothing goes wrong here."""
        return [key for key in list(self.data) if fnmatchcase(key, match) and self._live(key) is not None]


class MemoryScript:
    """A script as redis-py registers it."""

    def __init__(self, redis: MemoryRedis, sha: str, name: str) -> None:
        self._redis, self.sha, self._name = redis, sha, f"script {name}"

    def __call__(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        after = self._redis.hook(self._name, keys[0], True)
        answer = self._redis.play(self.sha, list(keys), list(args))
        if after is not None:
            after()
        return answer


class MemoryPipe:
    """Commands gathered, then carried out one by one: a pipeline that is no transaction may break off in between."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis
        self._queued: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., MemoryPipe]:
        def queue(*args: Any, **kwargs: Any) -> MemoryPipe:
            self._queued.append((name, args, kwargs))
            return self

        return queue

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        queued, self._queued = self._queued, []
        answers, refused = [], None
        for name, args, kwargs in queued:
            try:
                answers.append(getattr(self._redis, name)(*args, **kwargs))
            except ResponseError as error:  # the server goes on with the rest
                refused = refused or error
                answers.append(error)
        if refused is not None and raise_on_error:
            raise refused
        return answers


def _text(arg: Any) -> str:
    return arg.decode("utf-8", "surrogateescape") if isinstance(arg, bytes) else str(arg)


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
