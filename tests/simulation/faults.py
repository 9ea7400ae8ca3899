"""What the profile says, done: to commands on their way to Redis or the store, and to calls to a neighbour.

Each fault notes until when it may still be felt (``disturbed``): the judge is strict where nothing has gone wrong, and
allows what the contract allows where something has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError

from s6.adapters.http import Answer
from s6.model import jsonx
from s6.model.waiting import LONGEST_MS
from s6.ports import NeighbourUnavailable
from s6.store import StoreUnavailable
from tests.doubles.memory_redis import After
from tests.simulation.kernel import Crash, Kernel, Process
from tests.simulation.profile import CALM, Profile

NEVER: Final = 10**9
#: What is given up when it could not be sent for ten seconds, and for how long nothing is heard of an order at worst.
WORTH_A_MOMENT: Final = ("TP", "ADD", "REDUCE")
DEAF_MS: Final = 11_000
#: How long it takes to put a question, at most.
UNDER_WAY_MS: Final = 1_000
Handler = Callable[[str, str, Mapping[str, object], str], tuple[int, dict[str, object]]]


class Faults:
    def __init__(self, kernel: Kernel, profile: Profile) -> None:
        self._kernel, self._rng = kernel, kernel.rng
        self.profile = profile
        self.disturbed = 0
        self.down: dict[str, int] = {}
        self.retry_after: dict[str, int] = {}
        self.deaf: dict[str, int] = {}
        self.sent: dict[str, list[int]] = {}
        #: Which questions are not to be put, from when, until when.
        self.resting: dict[str, tuple[int, int]] = {}
        self.answered: Callable[[str, str, int, Mapping[str, object]], None] = lambda name, method, status, doc: None
        self._left = {kind: self._next(kind) for kind in ("crash", "loss", "pause", "gap")}
        self._rest()

    def calm(self) -> None:
        """Nothing goes wrong from here on (answers still take their time)."""
        self.profile = CALM
        self.down.clear()
        self._left = dict.fromkeys(self._left, NEVER)
        self._rest()

    def disturb(self, ms: int) -> None:
        """Something has gone wrong that lasts that long by itself."""
        self.disturbed = max(self.disturbed, self._kernel.now + ms)

    def is_down(self, name: str) -> bool:
        return self._kernel.now < self.down.get(name, 0)

    def rest(self, path: str, wanted_ms: int) -> None:
        """No process puts this question again until the rest is over; who has begun to put it may go on. After a fault
        that may keep a process from noting the rest, nothing is judged."""
        p, now = self.profile, self._kernel.now
        forgets = p.every_crash or p.every_loss or p.every_pause or p.every_gap or p.crash_call or p.redis_down
        if not (forgets or p.wipe or p.failover):
            self.resting[path] = now + UNDER_WAY_MS, now + min(wanted_ms, LONGEST_MS)

    def hears(self, client_order_id: str, kind: str) -> bool:
        """Whether S6 hears of this order: nothing for longer than it tries to send it, when bad luck has it so."""
        if kind in WORTH_A_MOMENT and client_order_id not in self.deaf:
            unlucky = self._rng.random() < self.profile.deaf
            self.deaf[client_order_id] = self._kernel.now + DEAF_MS if unlucky else 0
            if unlucky:
                self._kernel.note(f"    nothing is heard of {client_order_id} for {DEAF_MS} ms")
                self.disturb(DEAF_MS + 5_000)
        return self._kernel.now >= self.deaf.get(client_order_id, 0)

    def _next(self, kind: str) -> int:
        """After how many more commands this kind of fault strikes."""
        mean: int = getattr(self.profile, f"every_{kind}")
        return int(-mean * math.log(1 - self._rng.random())) if mean else NEVER

    def _rest(self) -> None:
        """So many commands go well from here."""
        self._span = self._peace = min(self._left.values())

    # -- Redis and the store -----------------------------------------------------------------------------------

    def redis(self, name: str, key: str, writes: bool) -> After:
        return self._command("redis", RedisConnectionError, name, key, writes)

    def store(self, name: str, key: str, writes: bool) -> After:
        return self._command("store", StoreUnavailable, name, key, writes)

    def _command(self, where: str, error: type[Exception], name: str, key: str, writes: bool) -> After:
        process = self._kernel.process
        if process is None:
            return None
        if process.dead:
            raise Crash
        if where in self.down and self.is_down(where):
            raise error(f"{where} is away")
        self._peace -= 1
        if self._peace >= 0:
            return None
        return self._strike(process, error("the answer was lost"), f"{name} {key}", writes)

    def _strike(self, process: Process, lost: Exception, what: str, writes: bool) -> After:
        """Some fault's turn has come, maybe several ones'."""
        due = [kind for kind, left in self._left.items() if left == self._span]
        self._left = {k: self._next(k) if k in due else left - self._span - 1 for k, left in self._left.items()}
        self._rest()
        if "gap" in due:
            self._kernel.wait(self._rng.choice([0, 1, 2, 5, 20]))
        if "pause" in due:
            self._kernel.note(f"    {process.role} is held up before {what}")
            ms = self._rng.choice([300, 2_000, 6_000])
            self.disturb(ms + 100)
            self._kernel.wait(ms)
        if "crash" in due:
            self.disturb(5_500)
            if not writes or self._rng.random() < 0.5:
                self._kernel.note(f"    {process.role} is killed before {what}")
                self._kernel.die()
            return lambda: self._killed(process.role, what)
        if "loss" in due:
            self.disturb(5_500)  # a lock may stay behind
            if not writes or self._rng.random() < 0.5:
                self._kernel.note(f"    {process.role}: no connection for {what}")
                raise lost
            return lambda: self._lost(process.role, what, lost)
        return None

    def _killed(self, role: str, what: str) -> None:
        self._kernel.note(f"    {role} is killed after {what}")
        self._kernel.die()

    def _lost(self, role: str, what: str, lost: Exception) -> None:
        self._kernel.note(f"    {role}: {what} done, the answer is lost")
        raise lost


class SimNeighbour:
    """``s6.adapters.http.Neighbour`` without the wire: the real adapters speak through it."""

    def __init__(self, name: str, kernel: Kernel, faults: Faults, handler: Handler) -> None:
        self.name = name
        self._kernel, self._rng, self._faults, self._handler = kernel, kernel.rng, faults, handler

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None, **options: Any
    ) -> Answer:  # the options are HTTP's
        kernel, faults, rng = self._kernel, self._faults, self._rng
        process = kernel.process
        assert process is not None
        if process.dead:
            raise Crash
        text = jsonx.dumps(dict(body or {}))
        begin, end = faults.resting.get(path, (0, 0))
        if method == "GET" and begin <= kernel.now < end:
            kernel.broken = kernel.broken or AssertionError(f"GET {path} although {self.name} wants rest")
        name = str((body or {}).get("client_order_id") or (body or {}).get("transfer_id") or path.rsplit("/", 1)[1])
        if method == "POST":
            faults.sent.setdefault(name, []).append(kernel.now)
        kernel.note(f"  > {self.name} {method} {path} {name}".rstrip())
        kernel.wait(rng.randint(1, 15))
        if faults.is_down(self.name):
            kernel.wait(rng.choice([1, 1, 500]))
            faults.answered(name, method, 503, {})
            faults.rest(path, faults.retry_after.get(self.name) or 0)
            raise NeighbourUnavailable(self.name, "HTTP 503", faults.retry_after.get(self.name))
        profile = faults.profile
        heard = faults.hears(name, str((body or {}).get("kind")))
        if not heard and method == "GET":
            return self._timeout("lost on its way", name, method)
        lose, crash = rng.random() < profile.lose_call, rng.random() < profile.crash_call
        if lose or crash:
            faults.disturb(6_500)
        if lose and rng.random() < 0.4:
            return self._timeout("lost on its way", name, method)
        status, doc = self._handler(method, path, body or {}, text)
        if rng.random() < profile.double_call:
            status, doc = self._handler(method, path, body or {}, text)
        kernel.wait(rng.randint(1, 15))
        if crash:
            kernel.note(f"    {process.role} is killed before it reads the answer")
            kernel.die()
        if lose or not heard:
            return self._timeout("done, the answer is lost", name, method)
        faults.answered(name, method, status, doc)
        return Answer(status, {}, b"", doc)

    def _timeout(self, why: str, name: str, method: str) -> Answer:
        self._faults.answered(name, method, 0, {})
        self._kernel.note(f"    {self.name}: {why}")
        self._kernel.wait(self._rng.choice([5, 3_000]))
        raise NeighbourUnavailable(self.name, why)
