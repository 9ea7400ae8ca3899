"""The append-only record of everything that the paper exchange sees and does; tests and chaos runs judge by it.

Every record is a flat mapping with `n` (1, 2, 3 …), `ts` (wall clock, ms) and `what`:

| `what` | members |
|---|---|
| `symbol` | `symbol`, `tick`, `step`, `min_qty`, `min_notional`, `mmr` |
| `request` | `route` (`s4.orders` …), `method`, `path`, `body` |
| `answer` | `request` (its `n`), `route`, `status`, `body`, `fault` (what was injected, or null), `delivered` |
| `order` | every member of the order as it stands after the change of state, `life`, `live` |
| `fill` | the order's ids, `kind`, `side`; `life`, `qty`, `price`, `fee`, `margin` (what it took) |
| `position` | `position_id`, `symbol`, `market`, `side`, `life`, `qty`, `entry`, `margin`, `leverage`, `liq_price` |
| `cancel` | `client_order_id`, `position_id`, `outcome` of a cancel |
| `result` | an entry of `ord:result:SYMBOL` handed to Redis: `fields`, `fault`, `delay_ms`, `copies` |
| `feature` | `symbol`, `signal`, `signal_id`, `regime`, `atr` |
| `transfer` | `transfer_id`, `amount`, `from`, `to`, `asset`, `status`, `reason` |
| `approval` · `bundle` · `faults` · `script` · `balances` | what was asked for or set |
| `note` | `text`, `lasts_ms`: a disturbance from outside (a process killed, say) |
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

from s6.model.jsonx import dumps

Record = dict[str, object]


def now_ms() -> int:
    """Return the wall clock in integer milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Ledger:
    """Keeps the newest `limit` records in memory and, if `path` is given, all of them in that file (JSON lines)."""

    def __init__(self, path: Path | None = None, *, limit: int = 200_000, clock: Callable[[], int] = now_ms) -> None:
        self._records: deque[Record] = deque(maxlen=limit)
        self._count = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None

    def add(self, what: str, members: Mapping[str, object]) -> int:
        """Append one record. Returns its number `n`."""
        with self._lock:
            self._count += 1
            record: Record = {"n": self._count, "ts": self._clock(), "what": what, **members}
            self._records.append(record)
            if self._file:
                self._file.write(dumps(record) + "\n")
            return self._count

    def records(self, *, since: int = 0, what: str | None = None) -> list[Record]:
        """Return records with `n > since`, oldest first, and only those of kind `what` if it is given."""
        with self._lock:
            skip = max(0, len(self._records) - (self._count - since)) if since else 0
            recent = list(islice(self._records, skip, None))
        return [r for r in recent if what is None or r["what"] == what]

    def close(self) -> None:
        """Flush and close the file."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None
