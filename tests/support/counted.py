"""One S6 in one thread, over a real Redis and an S4 that says yes, whose commands to Redis are counted.

What a process of the Procfile does with a result, a tick or a hint is done here by the same services, one step after
the other, so that the counts are the same in each run.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from s6 import keys
from s6.adapters.redis_client import connect
from s6.bootstrap import build
from s6.engine.evaluation import Evaluation
from s6.listener.index import TriggerIndex
from s6.listener.market_reader import MarketReader
from s6.listener.results_consumer import ResultsConsumer
from s6.listener.watch import IndexKeeper
from s6.model import jsonx
from s6.model.operation import Operation
from s6.settings import load_settings
from s6.standalone.redis_single import EmbeddedRedis

SYMBOL: Final = "BTCUSDT"
BROKER: Final = 2  # a hint costs two commands in the broker: LPUSH and BRPOP
BUNDLE: Final = {
    "version": "counted-1",
    "symbols": {SYMBOL: {"tick": "0.1", "step": "0.001", "min_qty": "0.001", "min_notional": "5", "mmr": "0.004"}},
    "fut": {
        "stop": {
            "k_by_regime": {"NORMAL": 2},
            "default_regime": "NORMAL",
            "fallback_pct": "0.02",
            "lock_steps": [{"roe": "0.5", "lock_roe": "0.2"}],
        }
    },
    "health": {"market_stale_ms": 600_000},
}


class Agreeable(BaseHTTPRequestHandler):
    """S10 with one bundle, and an S4 that accepts every order and every cancel. Tells nobody of the outcome."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(BUNDLE)

    def do_POST(self) -> None:
        body = jsonx.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append(body)  # type: ignore[attr-defined]
        self._answer({"client_order_id": body["client_order_id"], "status": "NEW"})

    def _answer(self, doc: Mapping[str, object]) -> None:
        text = jsonx.dumps(doc).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class QueuedHints:
    """A queue of hints in memory, worked off by ``Counted.work_off``; ``sent`` counts them."""

    def __init__(self) -> None:
        self.queue: deque[tuple[str, str, Operation | None]] = deque()
        self.sent = 0

    def _put(self, name: str, position_id: str, op: Operation | None = None) -> None:
        self.queue.append((name, position_id, op))
        self.sent += 1

    def evaluate(self, position_id: str, *, delay_ms: int = 0, attempt: int = 0) -> None:
        if not delay_ms:
            self._put("evaluate", position_id)

    def evaluate_many(self, position_ids: Sequence[str], *, urgent: bool = False) -> None:
        for position_id in position_ids:
            self._put("evaluate", position_id)

    def protect(self, position_id: str) -> None:
        self._put("evaluate", position_id)

    def waiting(self) -> int | None:
        return len(self.queue)

    def execute(self, position_id: str, op: Operation) -> None:
        self._put("advance", position_id, op)

    def resume(self, position_id: str, op: Operation) -> None:
        self._put("advance", position_id, op)

    def advance_transfer(self, transfer_id: str, *, delay_ms: int = 0) -> None:
        """No transfer is made here."""


class Counted:
    """Drive it by ``enter``, ``tick`` and ``work_off``; ``counting`` says what the block cost."""

    def __init__(self, server: EmbeddedRedis, folder: Path) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Agreeable)
        self.told: deque[dict[str, Any]] = deque()
        self._http.told = self.told  # type: ignore[attr-defined]
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self._http.server_port}"
        env = {f"S6_{name}_URL": url for name in ("S1", "S4", "S10", "S12")}
        env |= {"S6_REDIS_URL": server.url(0), "S6_STORE_URL": f"sqlite:///{folder / 's6.db'}"}
        self.redis: Any = server.client(db=0)
        self.hints, self.unread, self.published = QueuedHints(), 0, 0
        settings = load_settings(env)
        self.worker, listener = build(settings, self.hints), build(settings, self.hints)
        self.worker.store.init()
        listener.bundles.refresh()
        self.redis.set(keys.RECONCILED, "1")
        self.listener = listener
        blocking = connect(settings.redis, blocking=True)
        self.index = TriggerIndex()
        state, bundles, alerts, clock = listener.state, listener.bundles, listener.alerts, listener.clock
        self.results = ResultsConsumer(blocking, "counted", listener.results_batch, bundles, alerts, listener.reader)
        self.market = MarketReader(blocking, state, self.index, listener.hints, bundles, alerts, clock, listener.reader)
        self.keeper = IndexKeeper(blocking, state, bundles, self.index, listener.hints)
        self.evaluation = Evaluation(self.worker.governor, self.worker.executor, self.worker.reconciler)

    def close(self) -> None:
        self.keeper.close()
        self._http.shutdown()
        self._http.server_close()
        self.redis.close()

    @contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Count the commands, those inside scripts and those of the broker included, but for the neighbours' own."""
        cost: Counter[str] = Counter()
        self._flush()
        before, sent, published = self._counts(), self.hints.sent, self.published
        yield cost
        self._flush()
        cost.update(self._counts() - before)
        for own in ("info", "config|resetstat"):
            del cost[own]
        cost["xadd"] -= self.published - published  # the neighbours' own
        cost["broker"] = BROKER * (self.hints.sent - sent)

    def _flush(self) -> None:
        self.worker.metrics.flush()
        self.listener.metrics.flush()

    def _counts(self) -> Counter[str]:
        stats = self.redis.info("commandstats")
        return Counter({name.removeprefix("cmdstat_"): int(row["calls"]) for name, row in stats.items()})

    # -- what happens

    def enter(self, *names: str) -> None:
        """Entries fill, and the positions get their stops."""
        for name in names:
            self._result(**entry_fields(name))
        self.work_off()

    def stop(self, name: str) -> dict[str, str]:
        return dict(self.redis.hgetall(keys.stop(name)))

    def tick(self, mark: str) -> None:
        self.published += 1
        self.redis.xadd(keys.TICKS + SYMBOL, {"ts": now_ms(), "mark": mark, "bid": mark, "ask": mark, "last": mark})
        self.market.round()
        self.work_off()

    def work_off(self) -> None:
        """Do what there is to do, in all processes, until nothing is left, and take the snapshots to the store."""
        while self.unread or self.hints.queue or self.told:
            if self.unread:
                self.unread = 0
                self.results.round()
                self.keeper.round()
            while self.hints.queue:
                self._work(*self.hints.queue.popleft())
            while self.told:
                self._outcome(self.told.popleft())
        self.worker.relay.run()

    def _work(self, what: str, position_id: str, op: Operation | None) -> None:
        if op is None:
            self.worker.hints.begin(position_id)
            self.evaluation.run(position_id, lambda name, new, progress: None)
        else:
            self.worker.executor.advance(position_id, op.op_id)

    def _outcome(self, body: Mapping[str, Any]) -> None:
        if "kind" in body:
            self._result(
                position_id=body["position_id"],
                client_order_id=body["client_order_id"],
                kind=body["kind"],
                side=body["side"],
                type=body["type"],
                qty=body["qty"],
                status="NEW",
            )
        else:
            self._result(
                position_id=body["position_id"],
                client_order_id=body["client_order_id"],
                kind="SL",
                side="SELL",
                type="STOP_MARKET",
                qty="0.1",
                status="CANCELED",
            )

    def _result(self, **fields: object) -> None:
        self.unread += 1
        self.published += 1
        told = {"ts": now_ms(), "symbol": SYMBOL, "market": "FUT", **fields}
        self.redis.xadd(keys.RESULTS + SYMBOL, {name: str(value) for name, value in told.items()})


def entry_fields(name: str) -> dict[str, Any]:
    """Return the result of an entry that has filled."""
    return {
        "ts": now_ms(), "symbol": SYMBOL, "market": "FUT", "position_id": name, "client_order_id": f"entry-{name}",
        "kind": "ENTRY", "side": "BUY", "type": "MARKET", "qty": "0.1", "status": "FILLED", "filled_qty": "0.1",
        "avg_price": "40000", "fee": "0", "leverage": "10", "isolated_margin_usdt": "400", "liq_price": "36200",
    }  # fmt: skip


def now_ms() -> int:
    return int(time.time() * 1000)
