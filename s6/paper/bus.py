"""Writes the paper services' messages to Redis: results, ticks, features, quotas, announcements.

One queue carries in order what must not be lost (results, features, quotas, announcements) and tries until Redis
accepts it. A repeat after a lost answer is a duplicate, which every reader must tolerate; quotas are applied once.
Ticks have their own queue, which drops late ones, since an old tick has no value.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from decimal import Decimal

import redis

from s6.adapters.redis_client import RedisClient
from s6.model.jsonx import dumps
from s6.model.types import plain
from s6.paper.domain import Order, Quote
from s6.paper.faults import Faults
from s6.paper.ledger import Ledger, now_ms
from s6.paper.timer import Timer

log = logging.getLogger(__name__)

_STREAM_LENGTH = 10_000
_TICK_LATE_MS = 1_000
_RETRY_S = 0.1
_SWAP = """
if redis.call('SISMEMBER', KEYS[2], ARGV[3]) == 1 then return 2 end
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], 86400)
return 1
"""

Job = Callable[[], None]


class Bus:
    """Publishes to Redis. Only `flush` waits for Redis."""

    def __init__(self, client: RedisClient, *, ledger: Ledger, faults: Faults, timer: Timer) -> None:
        self._client, self._ledger, self._faults, self._timer = client, ledger, faults, timer
        self._durable: queue.Queue[Job | None] = queue.Queue()
        self._ticks: queue.Queue[Job | None] = queue.Queue()
        self._held_back: Job | None = None
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(jobs, lasting), name="paper-bus", daemon=True)
            for jobs, lasting in ((self._durable, True), (self._ticks, False))
        ]
        for thread in self._threads:
            thread.start()

    def result(self, order: Order, members: Mapping[str, object]) -> None:
        """Put a result on `ord:result:SYMBOL`, subject to the stream's faults."""
        rules = self._faults.plan.stream
        dropped = {"leverage", "isolated_margin_usdt", "liq_price"} if rules.omit_figures else set()
        dropped |= {"fee"} if rules.omit_fee else set()
        fields = {name: text(value) for name, value in members.items() if name not in dropped and value is not None}
        fields = self._faults.odd(fields)
        action, delay_ms = self._faults.result(order.kind, str(members["status"]))
        copies = 2 if action == "duplicate" else 1
        self._ledger.add("result", {"fields": fields, "fault": action, "delay_ms": int(delay_ms), "copies": copies})

        def send() -> None:
            for _ in range(copies):
                self._xadd(f"ord:result:{order.symbol}", fields)

        if action == "delay":
            self._timer.after(delay_ms, lambda: self._durable.put(send))
        elif action == "reorder":
            self._hold_back(send, delay_ms)
        else:
            self._durable.put(send)
            self._let_go()

    def raw(self, stream: str, fields: Mapping[str, str]) -> None:
        """Put any fields, also malformed ones, on any stream."""
        kept = dict(fields)
        self._durable.put(lambda: self._xadd(stream, kept))

    def tick(self, symbol: str, quote: Quote, *, lasting: bool = False) -> None:
        """Put a quote on `mkt:SYMBOL`. A `lasting` quote is never dropped."""
        fields = {name: text(getattr(quote, name)) for name in ("ts", "mark", "bid", "ask", "last")}
        put_at = time.monotonic()

        def send() -> None:
            if lasting or (time.monotonic() - put_at) * 1000 < _TICK_LATE_MS:
                self._xadd(f"mkt:{symbol}", fields)

        (self._durable if lasting else self._ticks).put(send)

    def feature(self, symbol: str, members: Mapping[str, object]) -> None:
        """Put features on `feat:events:SYMBOL`. None means that a member is absent."""
        self._ledger.add("feature", {"symbol": symbol, **members})
        fields = {name: text(value) for name, value in members.items() if value is not None}
        self._durable.put(lambda: self._xadd(f"feat:events:{symbol}", {"ts": str(now_ms()), **fields}))

    def quota(self, market: str, fill_id: str, margin: Decimal, born: bool) -> None:
        """Add an ENTRY fill's margin to `risk:budget:*`, and 1 to `risk:concurrency:*` for a new life, each once."""
        if born:
            self._durable.put(lambda: self._add_once(f"risk:concurrency:{market}", fill_id, Decimal(1)))
        self._durable.put(lambda: self._add_once(f"risk:budget:{market}", fill_id, margin))

    def news(self, channel: str, body: Mapping[str, object]) -> None:
        """Publish a JSON message (`cfg:events`)."""
        self._durable.put(lambda: self._ignore(self._client.publish(channel, dumps(body))))

    def set_health(self, service: str, status: str | None) -> None:
        """Set `prod:health:SERVICE`, or delete the key if `status` is None."""
        key, body = f"prod:health:{service}", {"status": status, "ts": now_ms()}
        if status is None:
            self._durable.put(lambda: self._ignore(self._client.delete(key)))
        else:
            self._durable.put(lambda: self._ignore(self._client.set(key, dumps(body))))

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until Redis has everything published so far. Returns False if that takes longer than `timeout_s`."""
        marks = []
        for jobs in (self._durable, self._ticks):
            mark = threading.Event()
            jobs.put(mark.set)
            marks.append(mark)
        deadline = time.monotonic() + timeout_s
        return all(mark.wait(max(0.0, deadline - time.monotonic())) for mark in marks)

    def stop(self) -> None:
        """Send what is waiting if Redis answers, and end the threads."""
        self.flush(1.0)
        self._stopping.set()
        for jobs in (self._durable, self._ticks):
            jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=1)

    def _run(self, jobs: "queue.Queue[Job | None]", lasting: bool) -> None:
        while (job := jobs.get()) is not None:
            while not self._stopping.is_set():
                try:
                    job()
                    break
                except redis.RedisError as error:
                    log.warning("Redis did not take a message: %s", error)
                    if not lasting:
                        break
                    self._stopping.wait(_RETRY_S)

    def _xadd(self, stream: str, fields: Mapping[str, str]) -> None:
        self._client.xadd(stream, dict(fields), maxlen=_STREAM_LENGTH, approximate=True)  # type: ignore[arg-type]

    def _add_once(self, key: str, fill_id: str, amount: Decimal) -> None:
        """Add by compare-and-set, so that the sum stays an exact decimal.

        The fill's mark lies in the key's own slot.
        """
        while True:
            before = str(self._client.get(key) or "")
            after = plain(Decimal(before or "0") + amount)
            if self._client.eval(_SWAP, 2, key, f"{{{key}}}:paper", before, after, fill_id):
                return

    def _hold_back(self, send: Job, delay_ms: float) -> None:
        self._let_go()
        with self._lock:
            self._held_back = send
        self._timer.after(delay_ms, self._let_go)

    def _let_go(self) -> None:
        with self._lock:
            held, self._held_back = self._held_back, None
        if held:
            self._durable.put(held)

    @staticmethod
    def _ignore(answer: object) -> None:
        del answer


def text(value: object) -> str:
    """Return a stream field's text: a decimal without exponent, anything else by `str`."""
    return plain(value) if isinstance(value, Decimal) else str(value)
