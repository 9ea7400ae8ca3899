"""Takes times, CPU, memory and commands, and says what they come to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
KB: Final = 1024


@dataclass(frozen=True)
class Row:
    """One line of the table. ``numbers`` are what the judgement rests on, for programs."""

    what: str
    wanted: str
    reached: str
    ok: bool
    numbers: dict[str, float] = field(default_factory=dict)

    def doc(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Scale:
    """How much is done: all of it, or so little that each row takes seconds and its numbers mean nothing."""

    small: bool

    def of(self, full: int, small: int) -> int:
        return small if self.small else full


@dataclass(frozen=True)
class Cost:
    """What something took: seconds, commands to Redis, CPU seconds of each process."""

    seconds: float
    commands: float
    cpu: dict[str, float]

    @property
    def whole_cpu(self) -> float:
        return sum(self.cpu.values())

    def less(self, rest: Cost) -> Cost:
        """Return this cost without what the same time costs at rest."""
        share = self.seconds / rest.seconds
        cpu = {role: max(0.0, used - rest.cpu.get(role, 0.0) * share) for role, used in self.cpu.items()}
        return Cost(self.seconds, max(0.0, self.commands - rest.commands * share), cpu)


def at(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of all lies."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process and its ended children have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS_A_SECOND


def memory_mb(pid: int) -> float:
    """Return a process's resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / KB


def commands(redis: Any) -> int:
    """Return how many commands the server has carried out, those inside scripts included."""
    return sum(int(each["calls"]) for each in redis.info("commandstats").values())
