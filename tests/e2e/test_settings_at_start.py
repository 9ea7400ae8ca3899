"""A bad value stops a process at its start: one line, and a code other than 0."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.procs import BIN, ROOT, procfile

GOOD = {
    "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    "HOME": os.environ.get("HOME", "/"),
    "S6_REDIS_URL": "redis://127.0.0.1:9/0",
    **{f"S6_{name}_URL": "http://127.0.0.1:9" for name in ("S1", "S4", "S10", "S12")},
}
BAD = [
    ("S6_S4_URL", None),
    ("S6_S10_URL", "ftp://example.com"),
    ("S6_REDIS_URL", "http://user:hush-hush@example.com"),
    ("S6_STORE_URL", "mysql://user:hush-hush@example.com/db"),
    ("S6_BROKER_URL", "nonsense"),
    ("S6_API_TOKENS", "name:admin:hush-hush"),
    ("S6_MANAGE_TICK_S", "0"),
    ("S6_TREASURY_TICK_S", "-1"),
    ("S6_CONFIG_POLL_S", "soon"),
    ("PORT", "70000"),
]


def started(name: str, env: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    words = ["/bin/sh", "-c", f"exec {procfile()[name]}"]
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(words, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("name", ["web", "worker", "beat", "listener", "flower"])
def test_one_line_and_another_code(name: str, tmp_path: Path) -> None:
    variable, value = BAD[sum(map(ord, name)) % len(BAD)]
    refused(name, variable, value, tmp_path)


@pytest.mark.parametrize(("variable", "value"), BAD, ids=[variable for variable, _ in BAD])
def test_every_variable(variable: str, value: str | None, tmp_path: Path) -> None:
    refused("listener", variable, value, tmp_path)


def refused(name: str, variable: str, value: str | None, folder: Path) -> None:
    env = {key: text for key, text in {**GOOD, variable: value}.items() if text is not None}
    process = started(name, env, folder)
    try:
        code = process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    lines = (folder / f"{name}.log").read_text().strip().splitlines()
    assert code != 0
    assert len(lines) == 1, lines
    assert variable in lines[0]
    assert "allowed" in lines[0]
    assert "hush" not in lines[0]
    assert value is None or "hush" in value or value in lines[0]


def test_a_cluster_needs_a_broker(tmp_path: Path) -> None:
    env = {**GOOD, "S6_REDIS_URL": "redis+cluster://127.0.0.1:9,127.0.0.1:10"}
    process = started("worker", env, tmp_path)
    assert process.wait(60) != 0
    (line,) = (tmp_path / "worker.log").read_text().strip().splitlines()
    assert "S6_BROKER_URL" in line
