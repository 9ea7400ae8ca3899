"""Services of plain objects: what the web asks is answered from memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from s6.model.commit import Doc, Loaded
from s6.model.market import MarketView, Tick
from s6.model.operation import Operation
from s6.model.position import Order, Position
from s6.ports import StateUnavailable
from s6.settings import Settings, load_settings
from s6.store import Page, StoreRefused, StoreUnavailable
from s6.treasury import NotFound

NOW = 1_700_000_000_000
TOKENS = "rita:read:read-token,olga:ops:ops-token,tom:treasury:treasury-token"


def settings() -> Settings:
    return load_settings({"S6_API_TOKENS": TOKENS})


def position(position_id: str = "p-1", **changes: Any) -> Position:
    """An open LONG with a stop, one rung of its ladder done."""
    known: dict[str, Any] = {
        "position_id": position_id,
        "symbol": "BTCUSDT",
        "market": "FUT",
        "side": "LONG",
        "qty": Decimal("0.670"),
        "q0": Decimal("1"),
        "entry_price_avg": Decimal("42000.5"),
        "isolated_margin_usdt": Decimal("2814.03"),
        "leverage": Decimal(10),
        "mark": Decimal("44100"),
        "roe": Decimal("0.5000000000000000000001"),
        "unrealized_pnl_usdt": Decimal("1406.665"),
        "opened_ts": NOW - 3_600_000,
        "ts": NOW,
        "seq": 7,
        "rev": 9,
        "sl_price": Decimal("43000.0"),
        "sl_level": 1,
        "sl_qty": Decimal("0.67"),
        "sl_order": "SL-abcd",
        "sl_ts": NOW - 60_000,
        "tp_done": (0,),
        "ladder": '[{"roe":0.8,"fraction":0.33},{"roe":1.5,"fraction":0.5}]',
        "best_ts": NOW,
        "orders": (
            Order(
                "SL-abcd", "stop-1", "SL", "SELL", "STOP_MARKET", Decimal("0.67"), "NEW", NOW - 60_000, 1, True,
                stop_px=Decimal(43000),
            ),
        ),
    }  # fmt: skip
    return Position(**(known | changes))


def operation(**changes: Any) -> Operation:
    known: dict[str, Any] = {
        "op_id": "op-1",
        "position_id": "p-1",
        "kind": "STOP_MOVE",
        "stage": "AWAIT_CANCEL",
        "reason": "lock step 1",
        "started_ts": NOW - 150,
        "intent": "stop-2",
        "client_order_id": "SL-efgh",
        "target": "SL-abcd",
        "old_price": Decimal(43000),
        "new_price": Decimal(44000),
    }
    return Operation(**(known | changes))


def snapshot(seq: int, **changes: Any) -> dict[str, object]:
    return {
        "_key": f"p-1:{seq}",
        "position_id": "p-1",
        "seq": seq,
        "phase": "RESULT",
        "symbol": "BTCUSDT",
        "market": "FUT",
        "side": "LONG",
        "qty": Decimal("0.67"),
        "status": "OPEN",
        "paused": False,
        "cause": "ENTRY",
        "ts": NOW + seq,
    } | changes


@dataclass
class FakeState:
    positions: dict[str, Loaded] = field(default_factory=dict)
    waiting: list[Doc] = field(default_factory=list)
    ticks: dict[str, Tick] = field(default_factory=dict)
    down: bool = False

    def _ask(self) -> None:
        if self.down:
            raise StateUnavailable("Redis: refused")

    def put(self, position: Position, op: Operation | None = None) -> None:
        self.positions[position.position_id] = Loaded(position, op)

    def load(self, position_id: str) -> Loaded | None:
        self._ask()
        return self.positions.get(position_id)

    def load_many(self, position_ids: Sequence[str]) -> list[Loaded | None]:
        self._ask()
        return [self.positions.get(position_id) for position_id in position_ids]

    def all_ids(self, *, after: str, limit: int) -> list[str]:
        self._ask()
        return sorted(name for name in self.positions if name > after)[:limit]

    def open_ids(self) -> list[str]:
        self._ask()
        return [name for name, loaded in self.positions.items() if loaded.position.is_open]

    def ids_of(self, symbol: str) -> list[str]:
        return [name for name in self.open_ids() if self.positions[name].position.symbol == symbol]

    def markets(self, symbols: Iterable[str]) -> dict[str, MarketView]:
        self._ask()
        return {symbol: MarketView(symbol, self.ticks.get(symbol)) for symbol in symbols}

    def outbox_peek(self, position_id: str, limit: int) -> list[Doc]:
        self._ask()
        return [doc for doc in self.waiting if doc["position_id"] == position_id][:limit]


@dataclass
class FakeStore:
    docs: list[dict[str, object]] = field(default_factory=list)
    records: list[dict[str, object]] = field(default_factory=list)
    down: bool = False

    def _ask(self, cursor: str | None = None) -> None:
        if self.down:
            raise StoreUnavailable("locked")
        if cursor is not None and not cursor.isdigit():
            raise StoreRefused("cursor")

    def snapshots(self, *, position_id: str, limit: int, cursor: str | None = None, newest_first: bool = False) -> Page:
        self._ask(cursor)
        if newest_first:
            return Page([d for d in reversed(self.docs) if d["position_id"] == position_id][:limit], None)
        after = int(cursor or 0)
        found = [d for d in self.docs if d["position_id"] == position_id and int(str(d["seq"])) > after]
        return Page(found[:limit], str(found[limit - 1]["seq"]) if len(found) > limit else None)

    def closed(self, *, symbol: str | None = None, limit: int, cursor: str | None = None) -> Page:
        self._ask(cursor)
        latest = {d["position_id"]: d for d in self.docs}
        found = [d for d in latest.values() if d["status"] == "CLOSED" and symbol in (None, d["symbol"])]
        found.sort(key=lambda d: int(str(d["ts"])), reverse=True)
        start = int(cursor or 0)
        more = len(found) > start + limit
        return Page(found[start : start + limit], str(start + limit) if more else None)

    def transfers(self, *, limit: int, cursor: str | None = None, status: str | None = None) -> Page:
        self._ask(cursor)
        return Page([r for r in self.records if status in (None, r["status"])][:limit], None)


@dataclass
class FakePlan:
    body: dict[str, object]

    def as_dict(self) -> dict[str, object]:
        return self.body


PLAN: dict[str, object] = {
    "plan": {
        "plan_id": "plan_001",
        "actions": [
            {"type": "STOP_MOVE", "old": Decimal("43000.0"), "new": Decimal("44000.0")},
            {"type": "TP_PARTIAL", "qty": Decimal("0.33")},
        ],
    },
    "orders": [
        {"kind": "CANCEL", "target": "SL-abcd"},
        {"kind": "NEW", "type": "STOP_MARKET", "reduceOnly": True, "stopPx": Decimal("44000.0")},
    ],
}


@dataclass
class FakeCommands:
    calls: list[tuple[str, ...]] = field(default_factory=list)
    error: Exception | None = None
    acknowledge: Callable[..., dict[str, object] | None] = lambda *_, **__: None

    def execute(self, position_id: str, symbol: str, market: str, action: str, by: str, reason: str) -> FakePlan:
        if self.error is not None:
            raise self.error
        self.calls.append((position_id, symbol, market, action, by, reason))
        return FakePlan(PLAN)


@dataclass
class FakeAlerts:
    docs: list[dict[str, object]] = field(default_factory=list)

    def page(self, *, limit: int, cursor: str | None, severity: str | None, standing: bool | None) -> Page:
        if cursor is not None:
            raise StoreRefused("cursor")
        found = [d for d in self.docs if severity in (None, d["severity"])]
        if standing is not None:
            found = [d for d in found if (d["severity"] == "FATAL" and d["ack"] is None) == standing]
        return Page(found[:limit], None)

    def ack(self, alert_id: str, *, by: str, note: str = "") -> dict[str, object] | None:
        for doc in self.docs:
            if doc["alert_id"] == alert_id:
                doc["ack"] = {"by": by, "note": note, "ts": NOW}
                return doc
        return None


def alert(alert_id: str = "a-1", severity: str = "FATAL") -> dict[str, object]:
    return {
        "alert_id": alert_id,
        "ts": NOW,
        "severity": severity,
        "code": "STOP_MOVE_FAILED",
        "position_id": "p-1",
        "detail": "two refusals in a row",
        "ack": None,
    }


@dataclass
class FakeTreasury:
    calls: list[dict[str, object]] = field(default_factory=list)
    answer: dict[str, object] = field(default_factory=dict)
    error: Exception | None = None
    records: dict[str, dict[str, object]] = field(default_factory=dict)

    def trigger(self, **request: object) -> dict[str, object]:
        if self.error is not None:
            raise self.error
        self.calls.append(request)
        return {
            "transfer_id": request["transfer_id"] or "tr-1",
            "status": "PENDING",
            "amount": request["amount"] or Decimal("300.10"),
            "need": Decimal("300.10"),
            "mode": request["mode"] or "SEMI",
        } | self.answer

    def transfer(self, transfer_id: str) -> dict[str, object]:
        if transfer_id not in self.records:
            raise NotFound(transfer_id)
        return self.records[transfer_id]

    def approve(self, transfer_id: str, approver: str, note: str = "") -> dict[str, object]:
        return self._decide(transfer_id, "APPROVED", approver, note)

    def reject(self, transfer_id: str, approver: str, note: str = "") -> dict[str, object]:
        return self._decide(transfer_id, "REJECTED", approver, note)

    def _decide(self, transfer_id: str, verdict: str, approver: str, note: str) -> dict[str, object]:
        if self.error is not None:
            raise self.error
        record = self.transfer(transfer_id)
        record.update(status=verdict, approver=approver, note=note)
        return record


def transfer(transfer_id: str = "tr-1", status: str = "PENDING") -> dict[str, object]:
    return {
        "transfer_id": transfer_id,
        "from": "SPOT",
        "to": "FUT",
        "asset": "USDT",
        "amount": Decimal("300.10"),
        "need": Decimal("300.10"),
        "mode": "SEMI",
        "status": status,
        "reason": "margin is thin",
        "requested_by": "tom",
        "approver": None,
        "ts": NOW,
    }


@dataclass
class FakeMetrics:
    counts: dict[str, dict[tuple[str, ...], float]] = field(default_factory=dict)
    quantiles: dict[tuple[str, float], float] = field(default_factory=dict)

    def totals(self, name: str) -> dict[tuple[str, ...], float]:
        return self.counts.get(name, {})

    def quantile(self, name: str, q: float, **labels: str) -> float | None:
        return self.quantiles.get((name, q))

    def render(self) -> str:
        return "# TYPE s6_open_positions gauge\ns6_open_positions 1.0\n"


class FakeClock:
    def now_ms(self) -> int:
        return NOW

    def steady_ms(self) -> int:
        return NOW


HEALTHY: dict[str, Any] = {
    "status": "OK",
    "mode": "NORMAL",
    "checks": {
        name: {"status": "OK", "latency_ms": 1.25}
        for name in ("redis", "broker", "store", "worker", "listener", "beat", "s1", "s4", "s10", "s12")
    },
    "ws_lag_ms": {"BTCUSDT": 120},
    "manage_tick_delay_ms": 15,
    "bundle_version": "b-0007",
}


@dataclass
class FakeHealth:
    answer: dict[str, object] = field(default_factory=lambda: dict(HEALTHY))

    redis: bool = True

    def report(self) -> dict[str, object]:
        return self.answer

    def redis_answers(self) -> bool:
        return self.redis


@dataclass
class FakeServices:
    settings: Settings = field(default_factory=settings)
    clock: FakeClock = field(default_factory=FakeClock)
    state: FakeState = field(default_factory=FakeState)
    store: FakeStore = field(default_factory=FakeStore)
    commands: FakeCommands = field(default_factory=FakeCommands)
    alerts: FakeAlerts = field(default_factory=FakeAlerts)
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    treasury: FakeTreasury = field(default_factory=FakeTreasury)
    health: FakeHealth = field(default_factory=FakeHealth)

    def __post_init__(self) -> None:
        self.commands.acknowledge = self.alerts.ack
