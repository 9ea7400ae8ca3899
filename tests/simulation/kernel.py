"""Time, chance and death: the event queue of the simulation, the processes that its events run as, and the faults.

One thread, one seed. What really runs side by side is played by nesting: while one process waits for an answer (or is
held up between two commands), whatever falls due meanwhile runs inside that wait, as other processes.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

START_MS: Final = 1_700_000_000_000
DEEPEST: Final = 4
#: Due events that wait longer, because too many processes wait already, count as a disturbance.
HELD_UP_MS: Final = 100
MOST_STEPS: Final = 8_000


class Crash(BaseException):
    """SIGKILL: whatever this process was doing ends here, and none of its ``finally`` blocks reaches the outside."""


@dataclass(slots=True)
class Process:
    """Who runs: ``worker`` or ``listener``; None runs the world itself, to which nothing happens."""

    role: str
    dead: bool = False


@dataclass(order=True, slots=True)
class Event:
    at: int
    number: int
    label: str = field(compare=False)
    role: str | None = field(compare=False)
    act: Callable[[], None] = field(compare=False)
    died: Callable[[], None] | None = field(compare=False, default=None)


class SimClock:
    """The time as the running process has it; each role's clock is off by ``skew`` ms at most.

    ``apart`` is by how much two processes' times may differ, or have differed.
    """

    def __init__(self, kernel: Kernel, skew: int) -> None:
        self._kernel, self.apart = kernel, 2 * skew
        self._off = {role: kernel.rng.randint(-skew, skew) if skew else 0 for role in ("worker", "listener")}

    def now_ms(self) -> int:
        process = self._kernel.process
        return self._kernel.now + (self._off[process.role] if process else 0)

    def steady_ms(self) -> int:
        return self._kernel.now

    def set_back(self, role: str, ms: int) -> None:
        """Set the clock of these processes back, or forward again. What was due may be done at once, or late."""
        self._off[role] -= ms
        self.apart += abs(ms)


class Kernel:
    """``after_step`` is called whenever an event has run; ``log`` is the history for people.

    ``held_up`` gets a duration of 0 ms whenever the nesting, not S6, has kept what was due from running.
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = START_MS
        self.after_step: Callable[[], None] = lambda: None
        self.held_up: Callable[[int], None] = lambda ms: None
        self.log: list[str] = []
        self.stack: list[Process | None] = []
        self.steps = 0
        self.broken: Exception | None = None
        self._queue: list[Event] = []
        self._waits: list[int] = []
        self._number = 0

    def now_ms(self) -> int:
        return self.now

    def steady_ms(self) -> int:
        return self.now

    @property
    def process(self) -> Process | None:
        return self.stack[-1] if self.stack else None

    def note(self, text: str) -> None:
        self.log.append(f"{self.now - START_MS:>7} {'  ' * max(len(self.stack) - 1, 0)}{text}")

    def at(
        self,
        delay_ms: int,
        label: str,
        act: Callable[[], None],
        role: str | None = None,
        died: Callable[[], None] | None = None,
    ) -> None:
        """Have something happen later. ``died`` is called should the process that does it die of it."""
        self._number += 1
        heapq.heappush(self._queue, Event(self.now + max(delay_ms, 0), self._number, label, role, act, died))

    def run_until(self, end: int) -> None:
        while self._queue and self._queue[0].at <= end:
            self._step(heapq.heappop(self._queue))
            if self.broken is not None:
                raise self.broken
        self.now = max(self.now, end)

    def wait(self, ms: int) -> None:
        """The running process waits; others don't. A process that was killed meanwhile doesn't wake up."""
        end = self.now + ms
        if len(self.stack) < DEEPEST:
            self._waits.append(end)
            try:
                self.run_until(end)
            finally:
                self._waits.pop()
        else:
            self.now = max(self.now, end)
            if self._queue and self.now - self._queue[0].at > HELD_UP_MS:
                self.held_up(0)
        if self.process is not None and self.process.dead:
            raise Crash

    def die(self) -> None:
        """Kill the running process, here."""
        assert self.process is not None
        self.process.dead = True
        raise Crash

    def _step(self, event: Event) -> None:
        self.now = max(self.now, event.at)
        if self._waits and self.now - min(self._waits) > HELD_UP_MS:  # its wait is over, and what runs inside goes on
            self.held_up(0)
        self.steps += 1
        if self.steps > MOST_STEPS:
            self.broken = RuntimeError("this goes on and on")
            return
        if event.label:
            self.note(event.label)
        self.stack.append(Process(event.role) if event.role else None)
        try:
            event.act()
            self.after_step()
        except Crash:
            self.note(f"    {event.role} DIES")
            if event.died is not None:
                event.died()
        except Exception as error:
            self.broken = self.broken or error  # told at the top: what runs below may swallow it
        finally:
            self.stack.pop()
