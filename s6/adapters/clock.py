"""The time of day, as a port's adapter, and a time that nobody sets back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

_STARTED: Final = datetime.now(UTC)
_STARTED_S: Final = time.monotonic()


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


def steady_now() -> datetime:
    """Return the time since this process began, as a time of day: it goes on evenly when the clock is set."""
    return _STARTED + timedelta(seconds=time.monotonic() - _STARTED_S)
