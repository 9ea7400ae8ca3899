"""A thread that runs callbacks when they are due: late fills, cancel outcomes, delayed results."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Timer:
    """Runs callbacks in order of their due times. Callbacks must be short and may schedule others."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="paper-timer", daemon=True)
        self._thread.start()

    def after(self, delay_ms: float, callback: Callable[[], None]) -> None:
        """Run `callback` once on the timer's thread, `delay_ms` from now."""
        with self._wake:
            heapq.heappush(self._due, (time.monotonic() + delay_ms / 1000, next(self._count), callback))
            self._wake.notify()

    def stop(self) -> None:
        """Drop the callbacks that are not due yet, and end the thread."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while (callback := self._next()) is not None:
            try:
                callback()
            except Exception:  # one failing callback must not stop the later ones
                log.exception("a scheduled action of the paper exchange failed")

    def _next(self) -> Callable[[], None] | None:
        with self._wake:
            while not self._stopped:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._wake.wait(wait)
            return None
