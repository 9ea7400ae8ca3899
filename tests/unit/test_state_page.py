"""docs/state.md names every key that ``s6/keys.py`` spells, and what bounds it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from s6 import keys
from tests.support.procs import ROOT

PAGE = (ROOT / "docs/state.md").read_text()
NAMES = {
    "position_id": "ID", "symbol": "SYMBOL", "market_": "MARKET", "member": "MEMBER", "name": "NAME",
    "service": "SERVICE", "src": "FROM", "dst": "TO", "counter": "COUNTER", "path": "PATH",
}  # fmt: skip
LISTS = {"kept_keys", "commit_keys"}
"""Functions that only gather keys of others."""


def spelt() -> Iterator[tuple[str, str]]:
    """Every key by the name of what spells it, with words in capitals for what varies."""
    for name, value in vars(keys).items():
        if isinstance(value, keys.Lock | keys.SoftLock):
            yield name, value.key
        elif isinstance(value, str) and name.isupper():
            yield name, value
        elif inspect.isfunction(value) and value.__module__ == keys.__name__ and name not in LISTS:
            key = value(*(NAMES[parameter] for parameter in inspect.signature(value).parameters))
            yield name, key.key if isinstance(key, keys.Lock | keys.SoftLock) else key


def rows() -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:3] == "| `"]


def test_every_key_is_on_the_page() -> None:
    found = dict(spelt())
    assert len(found) > 45
    first = " ".join(row[0] for row in rows())
    missing = {name: key for name, key in found.items() if f"`{key}" not in first}
    assert missing == {}


def test_every_row_says_what_bounds_it() -> None:
    assert [row for row in rows() if not all(row)] == []


def test_the_page_names_no_key_that_is_not_there() -> None:
    known = [key for _, key in spelt()]
    named = [word for row in rows() for word in row[0].replace("`", "").split() if ":" in word]
    assert [word for word in named if not any(word.startswith(key) for key in known)] == []
