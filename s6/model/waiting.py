"""Compares stored due times with a clock that may be set back meanwhile."""

from __future__ import annotations

from typing import Final

APART_MS: Final = 5_000
"""The difference (ms) between two hosts' clocks up to which S6 does nothing early."""

LONGEST_MS: Final = 60_000
"""The longest pause (ms) between two tries of anything."""


def left_ms(at: int, now: int, longest: int) -> int:
    """Return how long (ms) to wait until ``at``; 0 when it is due.

    ``longest`` is the longest wait (ms) that could have been meant. An ``at`` further ahead than that (and than clocks
    may be apart) was written before the clock was set back: it is due.
    """
    left = at - now
    return min(left, longest) if 0 < left <= longest + APART_MS else 0


def in_force_since(at: int, now: int) -> int:
    """Return since when (ms) something noted at ``at`` is in force; 0, ever since, for a time that lies ahead: it was
    noted before the clock was set back."""
    return at if at <= now + APART_MS else 0


def is_over(since: int, wait: int, now: int) -> bool:
    """Return whether ``wait`` ms have passed since then, or the clock has been set back meanwhile."""
    return left_ms(since + wait, now, wait) == 0
