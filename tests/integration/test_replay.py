"""`s6 replay` on the life of a position that real processes have governed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from s6 import keys
from s6.adapters.redis_client import RedisClient, connect
from s6.model import jsonx
from tests.support.paper_client import PaperClient
from tests.support.procs import BIN, S6Processes
from tests.support.waiting import wait_for

ID = "life-1"


@pytest.fixture
def paper(s6_processes: S6Processes) -> PaperClient:
    """Paper neighbours, and S6 at work on them."""
    client = s6_processes.start_paper()
    s6_processes.start("worker", "beat", "listener")
    s6_processes.ready(("worker", "beat", "listener"))
    return client


@pytest.fixture
def redis(s6_processes: S6Processes) -> Iterator[RedisClient]:
    with connect(s6_processes.env["S6_REDIS_URL"]) as client:
        yield client


def replay(processes: S6Processes, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "s6"), "replay", ID, *words]
    return subprocess.run(command, env=processes.env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
def test_a_whole_life_equals_the_live_record(s6_processes: S6Processes, paper: PaperClient, redis: RedisClient) -> None:
    def state(field: str) -> str:
        return str(redis.hget(keys.state(ID), field) or "")

    def at(mark: str) -> None:
        paper.tick("BTCUSDT", mark)

    at("40000")
    paper.feature("BTCUSDT", atr="300", regime="NORMAL")
    paper.open_position(ID, "BTCUSDT", "LONG", "0.1", leverage=10)
    wait_for(lambda: state("sl_order"), 10, "the first stop")
    for mark in ("40400", "41000"):
        at(mark)
    wait_for(lambda: state("tp_done") not in ("", "[]"), 10, "a take-profit")
    at("42000")
    paper.feature("BTCUSDT", atr="300", regime="NORMAL", signal="LONG", signal_id="sg-1")
    at("42001")
    wait_for(lambda: state("add_on_count") == "1", 10, "an add")
    middle = wait_for(lambda: _proven(s6_processes), 20, "a proof while it lives")
    assert "fold into the live state" in middle
    at("39000")
    wait_for(lambda: state("status") == "CLOSED", 10, "the exit")
    at("39500")
    paper.open_position(ID, "BTCUSDT", "LONG", "0.02", leverage=20)
    wait_for(lambda: state("life") == "2" and state("sl_order"), 10, "the next life's stop")
    wait_for(lambda: not redis.llen(keys.snaps_outbox(ID)), 10, "the store to have it all")

    told = jsonx.loads(replay(s6_processes, "--json", "--check").stdout)
    assert told["check"]["holds"], told["check"]["faults"]
    first, second = told["lives"]
    assert (first["status"], first["adds"], second["status"]) == ("CLOSED", 1, "OPEN")
    fills = [step["fill"] for life in told["lives"] for step in life["steps"] if step["fill"]]
    assert _as_told(fills) == _as_streamed(redis)
    assert jsonx.dumps(second["realized_pnl_usdt"]) == state("realized_pnl_usdt")

    s6_processes.end()  # or S6 would govern what is spoilt now
    redis.hset(keys.state(ID), "qty", "0.5")
    spoilt = replay(s6_processes, "--check")
    assert spoilt.returncode == 1
    assert "live state: qty is 0.5, not 0.02 of snapshot" in spoilt.stderr


def _proven(processes: S6Processes) -> str:
    """The verdict, once nothing stands between: an operation may be in flight at any moment."""
    run = replay(processes, "--check")
    return run.stdout if run.returncode == 0 else ""


def _as_told(fills: list[dict[str, object]]) -> list[tuple[str, str, str]]:
    name = {"ENTRY": "ENTRY", "TP": "TP_PARTIAL", "ADD": "ADD", "REDUCE": "RISK_DOWNGRADE"}
    return [(name.get(str(f["kind"]), "EXIT"), jsonx.dumps(f["qty"]), jsonx.dumps(f["price"])) for f in fills]


def _as_streamed(redis: RedisClient) -> list[tuple[str, str, str]]:
    """What S6 told the others of the same fills."""
    entries: Any = redis.xrange(keys.events("BTCUSDT"))
    events = [fields for _, fields in entries]
    moves = ("STOP_MOVE", "STAGNATED")
    return [(e["type"], e["qty"], e["price"]) for e in events if e["position_id"] == ID and e["type"] not in moves]
