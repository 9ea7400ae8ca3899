"""A campaign: real processes, a market that moves, and a seeded hand that kills, restarts and starves them."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import requests
from redis.exceptions import RedisError

from s6.standalone.redis_single import EmbeddedRedis
from tests.chaos.weather import SPELLS
from tests.chaos.world import World
from tests.support.paper_client import PaperClient
from tests.support.procs import CORE, S6Processes

VICTIMS: Final = ("worker", "worker", "listener", "listener", "beat", "web")
TOKENS: Final = "reader:read:read-token,operator:ops:ops-token"
#: How long a killed process's place may be empty, for the judge: the start of an interpreter on a loaded machine.
RESTART_MS: Final = 8_000


@dataclass(frozen=True, slots=True)
class Script:
    """How much of what a campaign does; ``seed`` decides when, and to whom.

    ``patience``: how often the next deed waits until the successor of what was killed is at work; else it may be
    killed before it ever was.
    """

    seed: int
    kills: int
    redis_restarts: int
    positions: int = 50
    pause_s: tuple[float, float] = (0.3, 2.0)
    spell_s: tuple[float, float] = (2.0, 5.0)
    patience: float = 0.7


@dataclass(slots=True)
class Figures:
    """What was done to S6."""

    kills: Counter[str] = field(default_factory=Counter)
    spells: Counter[str] = field(default_factory=Counter)
    redis_restarts: int = 0
    redis_kills: int = 0
    died: list[str] = field(default_factory=list)


class Campaign:
    """Everything running; ``rage`` does its worst, ``calm`` stops it all moving. A context manager."""

    def __init__(self, folder: Path, script: Script) -> None:
        self.folder, self.script, self.figures = folder, script, Figures()
        self.ledger = folder / "ledger.jsonl"
        self.redis = EmbeddedRedis(folder / "redis")
        self._random = random.Random(f"campaign {script.seed}")
        self._weather = random.Random(f"weather {script.seed}")
        self._calmed = threading.Event()

    def __enter__(self) -> Self:
        self.redis.start()
        env = {
            "S6_REDIS_URL": self.redis.url(0),
            "S6_BROKER_URL": self.redis.url(1),
            "S6_API_TOKENS": TOKENS,
            "S6_TREASURY_TICK_S": "86400",
        }
        self.s6 = S6Processes(self.folder / "s6", env)
        try:
            paper = self.s6.start_paper(
                "--ledger", str(self.ledger), "--no-wallet-follows-trades", "--seed", str(self.script.seed)
            )
            self.paper: PaperClient = paper
            self.s6.start(*CORE)
            self.s6.ready().healthy()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._calmed.set()
        if error is not None:
            print(self.s6.tails())
        self.s6.end()
        self.redis.stop()

    # -- the storm

    def rage(self) -> None:
        """All kills and restarts of the script, at random instants, in changing weather; returns with all at work."""
        world = World(self.paper.base_url, seed=self.script.seed, count=self.script.positions)
        sky = threading.Thread(target=self._change_weather, name="weather", daemon=True)
        world.start()
        sky.start()
        try:
            for deed in self._deeds():
                time.sleep(self._random.uniform(*self.script.pause_s))
                self._see_who_died()
                if deed == "redis":
                    self._restart_redis()
                else:
                    self._kill(deed)
        finally:
            self._calmed.set()
            sky.join(30)
        self.s6.ready()
        world.stop()

    def _deeds(self) -> list[str]:
        deeds = [self._random.choice(VICTIMS) for _ in range(self.script.kills)]
        for _ in range(self.script.redis_restarts):
            deeds.insert(self._random.randrange(len(deeds) + 1), "redis")
        return deeds

    def _kill(self, name: str) -> None:
        self.paper.note(f"SIGKILL {name}", lasts_ms=RESTART_MS)
        self.s6[name].kill()
        self.s6.start(name)
        self.figures.kills[name] += 1
        if self._random.random() < self.script.patience:
            self.s6.ready([name])

    def _restart_redis(self) -> None:
        self.paper.note("Redis restarted", lasts_ms=RESTART_MS)
        if self._random.random() < 0.5:
            self.redis.kill()
            time.sleep(self._random.uniform(0.0, 1.0))
            self.redis.start()
            self.figures.redis_kills += 1
        else:
            self.redis.restart()
            self.figures.redis_restarts += 1

    def _see_who_died(self) -> None:
        """Processes that ended by themselves are started anew, as a supervisor would, and told of."""
        for name in CORE:
            if not self.s6[name].alive:
                self.figures.died.append(f"{name} ({self.s6[name].popen.returncode}):\n{self.s6[name].tail(15)}")
                self.s6.start(name)

    def _change_weather(self) -> None:
        paper = PaperClient(self.paper.base_url)
        while not self._calmed.is_set():
            spell = self._weather.choice(SPELLS)
            lasts = self._weather.uniform(*self.script.spell_s)
            self.figures.spells[spell.name] += 1
            paper.clear_faults()
            self._acknowledge(paper)
            if spell.outage:
                paper.note(f"S4 {spell.name}", lasts_ms=int(lasts * 1000))
            if spell.layers:
                paper.fault(**spell.layers)
            self._calmed.wait(lasts)
        paper.clear_faults()

    def _acknowledge(self, paper: PaperClient) -> None:
        """An operator looks in now and then: a standing FATAL would keep adds away for good."""
        headers = {"Authorization": "Bearer ops-token"}
        try:
            with self.redis.client() as redis:
                for alert_id in redis.smembers("{s6:alerts}:fatal"):
                    url = f"{self.s6.url}/alerts/{alert_id}/ack"
                    requests.post(url, json={"by": "operator"}, headers=headers, timeout=3)
        except (RedisError, requests.RequestException) as error:
            paper.note(f"not acknowledged: {type(error).__name__}")


def quiet(redis: Any) -> str:
    """What S6 is still at; empty when nothing is."""
    at_work = list(redis.scan_iter("pos:op:*", count=5000))
    if at_work:
        return f"operations at work: {at_work[:5]}"
    if waiting := list(redis.scan_iter("pos:outbox:*", count=5000)):
        return f"outboxes: {waiting[:5]}"
    if redis.zcard("{s6:alerts}:out"):
        return "alerts on their way"
    for stream in redis.scan_iter("ord:result:*", count=5000):
        for group in redis.xinfo_groups(stream):
            if group["pending"] or group["lag"]:
                return f"{stream}: {group['pending']} pending, {group['lag']} unread"
    for key in redis.scan_iter("pos:state:*", count=5000):
        p = redis.hgetall(key)
        if p["market"] == "FUT" and p["status"] == "OPEN" and p["self_guarded"] == "false" and not p["sl_order"]:
            return f"{p['position_id']} has no stop"
    return ""
