"""The job that every peer does, one task a position: load a hash from Redis, compute a stop by S6's rules, write it."""

from __future__ import annotations

import os
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from redis import Redis

from s6.rules import next_stop_price

URL: Final = "BENCH_REDIS_URL"
DONE: Final = "peers:done"


@lru_cache(maxsize=1)
def redis() -> Any:
    """Return this process's client."""
    return Redis.from_url(os.environ[URL], decode_responses=True)


def positions(count: int) -> list[str]:
    """Write so many positions. Returns their names."""
    pipe = redis().pipeline(transaction=False)
    names = [f"p{number}" for number in range(count)]
    for number, name in enumerate(names):
        fields = {"entry": 40_000 + number % 100, "qty": "0.1", "margin": "400", "mark": 40_500, "sl": 38_000}
        pipe.hset(f"peers:position:{name}", mapping=fields)
    pipe.delete(DONE)
    pipe.execute()
    return names


def evaluate(name: str) -> None:
    """Do the job for one position."""
    held = {field: Decimal(text) for field, text in redis().hgetall(f"peers:position:{name}").items()}
    stop = next_stop_price(
        side="LONG",
        entry=held["entry"],
        qty=held["qty"],
        margin=held["margin"],
        mark=held["mark"],
        atr=None,
        k=Decimal(2),
        sl_prev=held["sl"],
        level=0,
        lock_steps=(),
        tick=Decimal("0.1"),
        fallback_pct=Decimal("0.05"),
    )
    pipe = redis().pipeline(transaction=False)
    pipe.hset(f"peers:stop:{name}", mapping={"price": str(stop.price), "level": stop.level})
    pipe.incr(DONE)
    pipe.execute()
