"""What the benches trade: symbols of one kind, positions of one size, and a bundle with every rule that ticks may meet.

A position enters at ``ENTRY`` with ``LEVERAGE``; its stop trails the best mark by ``TRAIL``. Where the best mark was
``BEST``, nothing is to be done at marks within ``QUIET``; where it was ``PROBE``, a mark above it moves the stop.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, Final

ENTRY: Final = 40_000
LEVERAGE: Final = 10
QTY: Final = "0.1"
TRAIL: Final = Decimal("0.05")
BEST: Final = 41_000
PROBE: Final = 40_400
QUIET: Final = (39_900, 40_300)
STEP: Final = 40
"""A mark that is higher by this moves a probe's stop."""
_SPEC: Final = {"tick": "0.1", "step": "0.001", "min_qty": "0.001", "min_notional": "5", "mmr": "0.004"}


def symbols(count: int) -> list[str]:
    """Return the first symbols' names."""
    return [f"S{number:03d}USDT" for number in range(count)]


def symbol_of(position_id: str) -> str:
    """Return the symbol of a position that is named by ``name``."""
    return position_id.partition("-")[0]


def name(symbol: str, number: int | str) -> str:
    """Return a position's id, which tells its symbol."""
    return f"{symbol}-{number}"


def stop_name(position_id: str) -> str:
    """Return the id of the stop that a filled-in position has at S4."""
    return f"rest.{position_id}"


def bundle(version: str, symbols: int, lock_steps: int = 3, first_lock: str = "0.3") -> dict[str, Any]:
    """Return an Active Bundle for so many symbols. A position locks in profit from the ROE ``first_lock`` on."""
    first = Decimal(first_lock)
    locks = [{"roe": str(first + n), "lock_roe": str(first + n - Decimal("0.2"))} for n in range(lock_steps)]
    stop = {"k_by_regime": {"NORMAL": 2}, "default_regime": "NORMAL", "fallback_pct": str(TRAIL), "anchor": "BEST"}
    rungs = [{"roe": str(roe), "fraction": "0.3"} for roe in (1, 2, 3)]
    return {
        "version": version,
        "symbols": {f"S{number:03d}USDT": _SPEC for number in range(symbols)},
        "fut": {
            "stop": {**stop, "lock_steps": locks, "min_move_bps": 5, "min_interval_s": 0},
            "tp_ladder": rungs,
            "add_on": {"roe_gate": "0.9", "cap": 2, "gamma": "0.5", "eta": "0.8", "signal_ttl_s": 15},
            "risk": {"lb_min": "0.02", "reduce_fraction": "0.5", "lb_exit": "0.01", "cooldown_s": 60, "max_reduces": 2},
            "stagnation": {"after_s": 86_400, "abs_roe_below": "0.05"},
        },
        "spot": {"guard": {"k_atr": 2, "fallback_pct": str(TRAIL)}},
        "execution": {"cancel_wait_ms": 5000, "retry": {"base_ms": 100, "cap_ms": 5000, "attempts": 6}},
        "health": {"market_stale_ms": 600_000, "poll_interval_s": 10},
    }


def tick(mark: float) -> dict[str, str]:
    """Return a tick's fields."""
    price = str(mark)
    return {"ts": str(int(time.time() * 1000)), "mark": price, "bid": price, "ask": price, "last": price}


def entry(position_id: str, market: str = "FUT") -> dict[str, str]:
    """Return the result of an entry that has filled."""
    fields: dict[str, object] = {
        "ts": int(time.time() * 1000), "symbol": symbol_of(position_id), "market": market, "position_id": position_id,
        "client_order_id": f"entry-{position_id}", "kind": "ENTRY", "side": "BUY", "type": "MARKET", "qty": QTY,
        "status": "FILLED", "filled_qty": QTY, "avg_price": ENTRY, "fee": 0, "order_id": f"x-{position_id}",
    }  # fmt: skip
    if market == "FUT":
        fields |= {"leverage": LEVERAGE, "isolated_margin_usdt": 400, "liq_price": 36_200}
    return {key: str(value) for key, value in fields.items()}
