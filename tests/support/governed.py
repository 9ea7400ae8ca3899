"""A whole S6 with a few positions in it, for tests that do something to its surroundings and then count everything."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import requests

from s6.adapters.redis_client import RedisClient, connect
from s6.model import jsonx
from s6.store import Store, open_store
from tests.chaos.campaign import quiet
from tests.chaos.verdict import verdict
from tests.judge.history import Record
from tests.support.paper_client import Number, PaperClient
from tests.support.procs import CORE, S6Processes
from tests.support.waiting import wait_for

SYMBOL = "BTCUSDT"
START = 40_000


class Governed:
    """Paper neighbours, processes, Redis and store by name. ``redis`` and ``store`` are clients of the test's own."""

    def __init__(self, s6: S6Processes, paper: PaperClient, redis: RedisClient, store: Store) -> None:
        self.s6, self.paper, self.store = s6, paper, store
        self.redis: Any = redis
        self._numbers = itertools.count(1)
        self._told: set[str] = set()

    # -- doing

    def enter(self, count: int = 1, *, market: str = "FUT", qty: Number = "0.1", leverage: int = 20) -> list[str]:
        """New LONG positions; their ids."""
        names = [f"p{next(self._numbers)}" for _ in range(count)]
        for name in names:
            self.paper.open_position(name, SYMBOL, "LONG", qty, leverage, market)
        return names

    def tick(self, mark: Number) -> None:
        self.paper.tick(SYMBOL, mark)

    def walk(self, *marks: Number, pause_s: float = 0.3) -> None:
        """Ticks with a rest after each: long enough to be seen, too short for everything to come to an end."""
        for mark in marks:
            self.tick(mark)
            time.sleep(pause_s)

    # -- seeing

    def health(self) -> dict[str, Any]:
        return dict(jsonx.loads(requests.get(f"{self.s6.url}/health", timeout=10).text))

    def state(self, position_id: str) -> dict[str, str]:
        return dict(self.redis.hgetall(f"pos:state:{{{position_id}}}"))

    def stop(self, position_id: str) -> dict[str, str]:
        return dict(self.redis.hgetall(f"pos:sl:level:{{{position_id}}}"))

    def live(self, position_id: str) -> list[str]:
        """Ids of the orders that live at S4."""
        return sorted(str(order["client_order_id"]) for order in self.paper.orders(position_id, live=True))

    def protected(self, names: list[str], timeout: float = 20) -> None:
        """Wait until each has exactly one live order at S4, which S6 takes for its stop, for the quantity held."""
        for name in names:
            try:
                wait_for(lambda name=name: self._is_protected(name), timeout, f"{name} protected")  # type: ignore[misc]
            except AssertionError as error:
                seen = f"{self.live(name)} live at S4; {self.stop(name)}; {self.state(name)}"
                raise AssertionError(f"{error}: {seen}") from None

    def _is_protected(self, name: str) -> bool:
        stop, state = self.stop(name), self.state(name)
        return bool(stop) and stop["qty"] == state.get("qty") and self.live(name) == [stop["client_order_id"]]

    def alerts(self, code: str) -> list[dict[str, str]]:
        return [fields for _, fields in self.redis.xrange("s6:alerts") if fields["code"] == code]

    def settled(self, timeout: float = 40) -> None:
        """Wait until S6 has nothing more to do."""
        last = ""
        calm_since = time.monotonic()

        def at_rest() -> bool:
            nonlocal last, calm_since
            last = quiet(self.redis)
            if last:
                calm_since = time.monotonic()
            return time.monotonic() - calm_since > 1.0

        try:
            wait_for(at_rest, timeout, "S6 at rest", every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from None

    def faults(self, *, emptied: bool = False) -> list[str]:
        """Everything that is not as it must be, each once. ``emptied``: Redis has lost what its streams told."""
        records: list[Record] = list(self.paper.ledger())
        found = [f for f in verdict(records, self.redis, self.store, streams=not emptied) if f not in self._told]
        self._told.update(found)
        return found


@contextmanager
def governed(s6: S6Processes, *paper_arguments: str, start: tuple[str, ...] = CORE) -> Iterator[Governed]:
    """Paper neighbours and the processes in ``start``, healthy, a first tick told; ends none of them."""
    paper = s6.start_paper("--no-wallet-follows-trades", *paper_arguments)
    if start:
        s6.start(*start)
        s6.ready(start)
    with connect(s6.env["S6_REDIS_URL"]) as redis, closing(open_store(s6.env["S6_STORE_URL"])) as store:
        running = Governed(s6, paper, redis, store)
        running.tick(START)
        if "web" in start:
            s6.healthy()
        yield running
