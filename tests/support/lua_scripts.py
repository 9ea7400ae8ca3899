"""The project's Lua scripts, found in its source so that none can be forgotten, and what each is tried with."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("s6", "tasks", "web")
#: All keys of all cases share the slot of this tag.
TAG: Final = "{moving}"
DOC: Final = f"{TAG}:doc:"


class Zset(dict[str, float]):
    """A sorted set: scores by member."""


class Names(frozenset[str]):
    """A set."""


class Stream(list[dict[str, str]]):
    """A stream of these entries, with a group ``s6`` whose consumers ``gone`` and ``us`` hold nothing."""


Value = str | dict[str, str] | list[str] | Zset | Names | Stream


@dataclass(frozen=True)
class Case:
    """One way through a script: how many keys it gets, what they hold by number (from 1) or name, and its arguments."""

    keys: int
    given: Mapping[int | str, Value]
    args: tuple[str | int, ...]

    def names(self) -> list[str]:
        """Return the keys that the script declares."""
        return [key(number) for number in range(1, self.keys + 1)]


class Found(NamedTuple):
    """A script's text, and where it stands: ``module:NAME``, or a file and line if it is no constant of a module."""

    where: str
    text: str
    is_constant: bool


def key(number: int | str) -> str:
    """Return the name of a case's key."""
    return f"{TAG}:{number}" if isinstance(number, int) else number


@cache
def found_scripts() -> tuple[Found, ...]:
    """Return every text in the product's source that calls Redis from Lua."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return tuple(found for path in paths for found in _in_file(path))


@cache
def scripts() -> dict[str, str]:
    """Return the texts of all scripts by ``module:NAME``."""
    return {found.where: found.text for found in found_scripts()}


def _in_file(path: Path) -> Iterator[Found]:
    tree = ast.parse(path.read_text())
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    named = {}
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named[id(node.value)] = node.target.id
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            named[id(node.value)] = node.targets[0].id
    for text in ast.walk(tree):
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and "redis.call(" in text.value:
            name = named.get(id(text))
            if name is None:
                yield Found(f"{path.relative_to(ROOT)}:{text.lineno}", text.value, False)
            else:
                yield Found(f"{module}:{name}", getattr(importlib.import_module(module), name), True)


def _payload(**changed: object) -> str:
    nothing: dict[str, object] = {name: ["", []] for name in ("sl", "tp", "adds", "op")}
    nothing |= {name: [] for name in ("orders", "told", "events", "snaps", "beside")}
    return json.dumps(nothing | {"state": ["rev", "8", "qty", "1"], "whole": False} | changed)


_STATE: Final = {"rev": "7", "qty": "2", "_sl": "old", "_tp": "t", "_adds": "old", "_op": "old"}
_HELD: Final[Mapping[int | str, Value]] = {
    1: "token",
    2: _STATE,
    3: {"price": "41000", "k": "1", "old": "1"},
    4: {"ladder": "[]", "old": "1"},
    5: {"count": "1"},
    6: {"op_id": "7", "stage": "CANCEL"},
    7: {"SL-1": "{}"},
    8: ["e1"],
    9: ["s1"],
}
_WHOLE: Final = _payload(
    sl=["new", ["price", "42000", "k", "2"]],
    tp=["t", ["ladder", "[1]"]],  # unchanged
    adds=["new", ["count", "2"]],
    op=["new", ["op_id", "8"]],
    orders=["SL-1", "{1}", "SL-2", "{}"],
    events=["e2", "e3"],
    snaps=["s2"],
    beside=[["PUBLISH", "changed", "p1"]],
)
_COMMIT: Final = (
    Case(9, _HELD, ("token", 7, _WHOLE)),
    Case(9, _HELD, ("", 7, _WHOLE)),
    Case(9, _HELD, ("token", 7, _payload(events=["e2"]))),  # stop, ladder, adds and operation go
    Case(9, _HELD, ("token", 7, _payload(tp=["t", ["ladder", "[]"]], whole=True))),
    Case(9, _HELD, ("token", 7, _payload(told=[["e2", [key(8), "*", "a", "1"]]]))),  # no stream: the event waits
    Case(9, {1: "token"}, ("token", 0, _WHOLE)),  # a birth
    Case(9, {1: "token", 2: _STATE, 4: {"ladder": "[]"}}, ("token", 7, _WHOLE)),
    Case(9, _HELD, ("other", 7, _WHOLE)),
    Case(9, _HELD, ("token", 6, _WHOLE)),
    Case(10, {1: "token"}, ("token", 0, _WHOLE, "birth")),
    Case(10, {1: "token", 10: {"rev": "5"}}, ("token", 0, _WHOLE, "birth")),  # a former life has left its trace
    Case(10, {1: "token", 10: {"rev": "5"}}, ("token", 0, _WHOLE, "restore")),
)

_CLOSED: Final = {"rev": "7", "status": "CLOSED"}

_ALERT: Final = (DOC, "al-2", 5, "ERROR", "CODE", "p-1", "why", "topic", 300_000, 900_000, 1000)
_OLD: Final = {"alert_id": "al-1", "topic": "topic", "repeats": "0"}
_ALERTS: Final[Mapping[int | str, Value]] = {
    1: Stream([{"alert_id": "al-1"}]),
    4: Names({"al-0"}),
    5: Zset({"al-1": 1}),
    6: Stream([{"alert_id": "al-1"}]),
}
_RAISE: Final = (
    Case(8, _ALERTS, (*_ALERT, "1", 60_000, 300_000)),
    Case(8, _ALERTS, (*_ALERT[:3], "FATAL", *_ALERT[4:], "1", 0, 300_000)),
    Case(8, {}, (*_ALERT[:5], "", *_ALERT[6:], "0", 0, 300_000)),
    Case(8, {**_ALERTS, 2: "al-1", DOC + "al-1": _OLD}, (*_ALERT, "1", 60_000, 300_000)),  # a repeat
    Case(8, {**_ALERTS, 2: "al-1"}, (*_ALERT, "1", 60_000, 300_000)),  # its document has expired
    Case(8, {**_ALERTS, 2: "al-2", 3: "al-2", 7: _OLD, 8: "al-2"}, (*_ALERT, "1", 60_000, 300_000)),
)
_ACK_ARGS: Final = ("al-1", "ann", "seen", 5, 900_000)

#: What each script is tried with: together its cases go through every command of it.
CASES: Final[Mapping[str, tuple[Case, ...]]] = {
    "s6.adapters.redis_scripts:COMMIT": _COMMIT,
    "s6.adapters.redis_scripts:SETTLED": (
        Case(3, {1: _STATE, 2: Zset({"p0": 1}), 3: Names({"p0", "p1"})}, (7, "p1", 5)),
        Case(3, {1: _STATE, 2: Zset({"p0": 1}), 3: Names({"p1"})}, (7, "p1", 5)),
        Case(3, {1: _STATE, 2: Zset({"p0": 1}), 3: Names({"p1"})}, (6, "p1", 5)),
    ),
    "s6.adapters.redis_scripts:RELEASE": (
        Case(1, {1: "token"}, ("token",)),
        Case(1, {1: "other"}, ("token",)),
        Case(1, {}, ("token",)),
    ),
    "s6.adapters.redis_scripts:PROLONG": (
        Case(1, {1: "token"}, ("token", 60_000)),
        Case(1, {1: "other"}, ("token", 60_000)),
        Case(1, {}, ("token", 60_000)),
    ),
    "s6.adapters.redis_scripts:PUT_NEWER": (
        Case(1, {1: {"ts": "5"}}, (6, 99, "ts", 6, "mark", 1)),
        Case(1, {1: {"ts": "100"}}, (6, 99, "ts", 6, "mark", 1)),
        Case(1, {1: {"ts": "7"}}, (6, 99, "ts", 6, "mark", 1)),
        Case(1, {}, (6, 99, "ts", 6, "mark", 1)),
    ),
    "s6.adapters.redis_scripts:SWAP": (
        Case(1, {1: {"n": "1"}}, ("1", "high", 5, "n", 2)),
        Case(1, {1: {"n": "2"}}, ("1", "high", 5, "n", 2)),
        Case(1, {}, ("", "high", 5, "n", 1)),
    ),
    "s6.adapters.redis_scripts:RESERVE": (
        Case(1, {1: {"n": "1"}}, ("1", "p1", 5, "n", 2)),
        Case(1, {1: {"n": "2"}}, ("1", "p1", 5, "n", 2)),
        Case(1, {}, ("", "p1", 5, "n", 1)),
    ),
    "s6.adapters.redis_scripts:TAKE_OFF": (
        Case(1, {1: {"p1": "ADD-1 5", "p2": "ADD-2 6"}}, ("p1", "ADD-1 ")),
        Case(1, {1: {"p1": "ADD-1 5"}}, ("p1", "ADD-1 ")),
        Case(1, {1: {"p1": "ADD-2 5"}}, ("p1", "ADD-1 ")),
        Case(1, {}, ("p1", "ADD-1 ")),
    ),
    "s6.adapters.redis_scripts:PRUNE": (
        Case(1, {1: {"a": "1", "b": "2", "c": "3"}}, ("a", "1", "b", "2")),
        Case(1, {1: {"a": "1", "b": "2"}}, ("a", "1", "b", "2")),
        Case(1, {1: {"a": "9", "b": "2"}}, ("a", "1", "b", "2")),
    ),
    "s6.adapters.redis_scripts:DROP_IF": (Case(1, {1: {"n": "1"}}, ("1",)), Case(1, {1: {"n": "2"}}, ("1",))),
    "s6.adapters.redis_scripts:RELAYED": (
        Case(2, {1: "token", 2: ["a", "b"]}, ("token", 2)),
        Case(2, {1: "token", 2: ["a", "b"]}, ("token", 1)),
        Case(2, {1: "token"}, ("token", 0)),
        Case(2, {1: "other", 2: ["a"]}, ("token", 1)),
        Case(2, {2: ["a"]}, ("token", 1)),
    ),
    "s6.adapters.redis_scripts:DROP_TO": (
        Case(2, {1: ['{"_key":"1"}', '{"_key":"2"}'], 2: ["e"]}, (1, "1")),
        Case(2, {1: ['{"_key":"1"}', '{"_key":"2"}']}, (2, "2")),
        Case(2, {1: ['{"_key":"1"}'], 2: ["e"]}, (1, "2")),
        Case(2, {2: ["e"]}, (0, "")),
    ),
    "s6.adapters.redis_scripts:DONE_UNLESS_MORE": (
        Case(1, {1: Zset({"p": 2})}, ("p", 2)),
        Case(1, {1: Zset({"p": 2, "q": 1})}, ("p", 2)),
        Case(1, {1: Zset({"p": 2, "q": 1})}, ("p", 2, "q", 1, "r", 1)),
        Case(1, {1: Zset({"p": 3})}, ("p", 2)),
    ),
    "s6.adapters.redis_scripts:FORGET": (
        Case(10, {2: _CLOSED, 5: {"k": "1"}, 9: {"SL-1": "{}"}}, (7, "rev", 7)),
        Case(10, dict.fromkeys((2, 5, 6, 7, 8, 9, 10), _CLOSED), (7, "rev", 7)),
        Case(10, {2: _CLOSED, 3: ["e1"], 4: ["s1"], **{n: {"k": "1"} for n in range(5, 11)}}, (7, "rev", 7)),
        Case(10, {1: {"rev": "1"}, 2: _CLOSED, **{n: {"k": "1"} for n in range(5, 11)}}, (7, "rev", 7)),
        Case(10, {2: _CLOSED}, (6, "rev", 7)),
        Case(10, {}, (7, "rev", 7)),
    ),
    "s6.adapters.redis_scripts:QUOTA": (
        Case(2, {1: "5", 2: Zset({"old": 1, "m1": 60})}, ("m2", "5", "6", 90, 50)),
        Case(2, {1: "5", 2: Zset({"m2": 60})}, ("m2", "5", "6", 90, 50)),
        Case(2, {1: "5", 2: Zset({"m1": 60})}, ("m2", "4", "6", 90, 50)),
        Case(2, {}, ("m2", "", "6", 90, 50)),
    ),
    "s6.adapters.breaker:_STEP": tuple(
        Case(
            1,
            {1: {"status": "OK", "failures": "2", "failed_ts": "5"}} if known else {},
            (verb, 9, 3, "", 3, 2, 1, 99, 60),
        )
        for verb in ("call_ok", "call_failed", "probe_ok", "probe_failed")
        for known in (True, False)
    ),
    "s6.alerts.scripts:PUT_ASIDE": (
        Case(2, {1: Stream([{"entry_id": "1"}])}, (900_000, 1000, "entry_id", "2")),
        Case(2, {1: Stream([{"entry_id": "1"}]), 2: "1"}, (900_000, 1000, "entry_id", "1")),
        Case(2, {}, (900_000, 1000, "entry_id", "2")),
    ),
    "s6.alerts.scripts:RAISE": _RAISE,
    "s6.alerts.scripts:ACK": (
        Case(4, {1: _OLD, 2: Names({"al-1"}), 3: Zset({"al-1": 1}), 4: "al-1"}, _ACK_ARGS),
        Case(4, {1: _OLD, 2: Names({"al-1", "al-0"}), 3: Zset({"al-0": 1}), 4: "al-2"}, _ACK_ARGS),
        Case(4, {1: _OLD | {"ack_ts": "4"}, 2: Names({"al-0"})}, _ACK_ARGS),
        Case(4, {}, _ACK_ARGS),
    ),
    "s6.alerts.scripts:RELAYED": (
        Case(1, {1: Zset({"a": 1, "b": 2})}, ("a", 1, "b", 2, "gone", 1)),
        Case(1, {1: Zset({"a": 1, "b": 3})}, ("a", 1, "b", 2)),
        Case(1, {1: Zset({"a": 2})}, ("a", 1)),
    ),
    "s6.alerts.scripts:RESTORE": (
        Case(3, {2: Names({"al-0"})}, ("al-1", "alert_id", "al-1")),
        Case(3, {1: _OLD, 2: Names({"al-1"}), 3: "al-1"}, ("al-1", "alert_id", "al-1")),
        Case(3, {}, ("al-1", "alert_id", "al-1")),
    ),
    "s6.bundles.active:_SWAP": (
        Case(2, {1: {"digest": "a"}, 2: ["old"]}, ("a", 1, "new", "digest", "b")),
        Case(2, {1: {"digest": "a"}, 2: ["old"]}, ("a", 1, "", "digest", "b")),
        Case(2, {1: {"digest": "c"}, 2: ["old"]}, ("a", 1, "new", "digest", "b")),
        Case(2, {}, ("", 1, "new", "digest", "b")),
    ),
    "s6.metrics.redis_metrics:WRITE": (
        Case(1, {1: {"a": "1.5"}}, ('[["a", "b"], [0.1, 2], ["g", 3]]',)),
        Case(1, {}, ('[[], [], ["g", 3]]',)),
    ),
    "s6.listener.group:_TIDY": (
        Case(1, {1: Stream([{"n": "1"}])}, ("s6", 0, "us")),
        Case(1, {1: Stream([{"n": "1"}])}, ("s6", 900_000, "us")),
        Case(1, {1: Stream([{"n": "1"}])}, ("no group", 0, "us")),
    ),
    "s6.paper.bus:_SWAP": (
        Case(2, {1: "5", 2: Names({"f1"})}, ("5", "6", "f2")),
        Case(2, {1: "5", 2: Names({"f2"})}, ("5", "6", "f2")),
        Case(2, {1: "4", 2: Names({"f1"})}, ("5", "6", "f2")),
        Case(2, {}, ("", "6", "f2")),
    ),
}
