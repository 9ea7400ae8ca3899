"""Positions, markets and bundles for unit tests of the core, with sensible defaults."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from s6.model.bundle import ActiveBundle, parse_bundle
from s6.model.market import Extremes, Features, MarketView, Tick
from s6.model.position import Order, Position
from s6.model.wire import OrderResult

NOW = 1_700_000_000_000
SPEC = {"tick": "0.1", "step": "0.001", "min_qty": "0.001", "min_notional": "5", "mmr": "0.004"}


def bundle(**members: Any) -> ActiveBundle:
    """A bundle that knows BTCUSDT; ``fut``, ``spot``, ``limits`` … as given."""
    return parse_bundle(json.dumps({"version": "b-1", "symbols": {"BTCUSDT": SPEC}, **members}))


def position(**members: Any) -> Position:
    """An open LONG of 1 at 40000 with 10x leverage and no stop yet."""
    side = members.get("side", "LONG")
    defaults: dict[str, Any] = {
        "position_id": "p1",
        "symbol": "BTCUSDT",
        "market": "FUT",
        "side": side,
        "qty": Decimal(1),
        "q0": Decimal(1),
        "entry_price_avg": Decimal(40000),
        "isolated_margin_usdt": Decimal(4000),
        "leverage": Decimal(10),
        "liq_price": Decimal(36000) if side == "LONG" else Decimal(44000),
        "mark": Decimal(40000),
        "best_mark": Decimal(40000),
        "best_ts": NOW,
        "opened_ts": NOW - 1,
        "entry_ts": NOW,
    }
    return Position(**{**defaults, **members})


def stopped(price: int | str, **members: Any) -> Position:
    """The same with a live stop at that price for all of it."""
    qty = members.get("qty", Decimal(1))
    stop = Order(
        "SL-1",
        "i",
        "SL",
        "SELL",
        "STOP_MARKET",
        members.get("sl_qty", qty),
        "NEW",
        NOW,
        1,
        True,
        stop_px=Decimal(price),
    )
    held = {"sl_price": Decimal(price), "sl_order": "SL-1", "sl_qty": qty, "sl_ts": NOW, "orders": (stop,)}
    return position(**{**held, **members})


def view(mark: int | str, *, atr: int | str = 0, ts: int = NOW, **features: Any) -> MarketView:
    """A market at that mark, fresh unless ``ts`` says otherwise."""
    extremes: Extremes | None = features.pop("extremes", None)
    price = Decimal(mark)
    known = Features(ts=NOW, atr=Decimal(atr), regime="NORMAL", signal_ts=NOW, **features)
    return MarketView("BTCUSDT", Tick(ts, price, price, price), known, extremes)


def result(**fields: Any) -> OrderResult:
    """A filled ENTRY of 1 at 40000 unless told otherwise."""
    defaults: dict[str, Any] = {
        "ts": NOW,
        "symbol": "BTCUSDT",
        "market": "FUT",
        "position_id": "p1",
        "client_order_id": "e1",
        "kind": "ENTRY",
        "side": "BUY",
        "type": "MARKET",
        "status": "FILLED",
        "qty": "1",
        "filled_qty": "1",
        "avg_price": "40000",
        "leverage": "10",
    }
    told = {**defaults, **fields}
    return OrderResult.read({name: str(value) for name, value in told.items() if value is not None})
