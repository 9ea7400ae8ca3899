"""What a paper exchange leaves behind when it ends: positions that its successor, which begins empty, knows nothing of.

They are told to have been closed at the last price, by hand, as it were. Real exchanges don't forget; this is part of
playing one.
"""

from __future__ import annotations

import hashlib

from s6.adapters.redis_client import connect
from s6.adapters.redis_state import RedisState
from s6.clock import SystemClock
from s6.model.position import Position
from s6.model.types import plain


def close_forgotten(redis_url: str) -> int:
    """Put a closing result on ``ord:result:SYMBOL`` for every open position; how many. Harmless when repeated.

    To be called before a new paper exchange starts. Raises ``RedisError`` or ``StateUnavailable``.
    """
    clock = SystemClock()
    with connect(redis_url) as client:
        state = RedisState(client, clock)
        loaded = state.load_many(list(state.open_ids()))
        forgotten = [found.position for found in loaded if found and found.position.is_open and found.position.qty]
        marks = state.markets({position.symbol for position in forgotten})
        for position in forgotten:
            tick = marks[position.symbol].tick
            price = tick.mark if tick else position.mark or position.entry_price_avg
            client.xadd(f"ord:result:{position.symbol}", _closed(position, plain(price), clock.now_ms()))
    return len(forgotten)


def _closed(position: Position, price: str, now: int) -> dict[str, str]:
    # One id for each life of a position: it ends once, however often this is told.
    mark = hashlib.sha256(f"{position.position_id} {position.life}".encode()).hexdigest()[:24]
    qty = plain(position.qty)
    return {
        "ts": str(now),
        "symbol": position.symbol,
        "market": position.market,
        "position_id": position.position_id,
        "client_order_id": f"forgotten-{mark}",
        "intent_id": f"forgotten-{mark}",
        "kind": "EXIT",
        "side": "SELL" if position.side == "LONG" else "BUY",
        "type": "MARKET",
        "status": "FILLED",
        "qty": qty,
        "filled_qty": qty,
        "avg_price": price,
        "reason": "PAPER_EXCHANGE_RESTARTED",
    }
