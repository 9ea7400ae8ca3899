"""Whatever stands on the streams, channels and keys that S6 reads: a new position still gets its stop at once."""

from __future__ import annotations

import random
from typing import Any, Final

from s6.adapters.redis_client import connect
from s6.paper.ledger import now_ms
from tests.e2e.running import Running
from tests.e2e.test_streams import result
from tests.support.waiting import wait_for

ROUNDS: Final = 400
ODD: Final[tuple[bytes, ...]] = (
    b"",
    b"\xff\xfe",
    b"\x00",
    b"NaN",
    b"-1",
    b"1e400",
    b"9" * 80,
    b"{}",
    b"[[[[",
    b"true",
    "Ⅷ".encode(),
    b"x" * 70_000,
    b"2147483648",
    b" 1 ",
    b"0.1\n",
)


def mutated(rng: random.Random, fields: dict[str, Any]) -> dict[bytes, bytes]:
    """Return a valid entry in which some of the fields are odd, missing, doubled or of another's kind."""
    entry = {name.encode(): str(value).encode() for name, value in fields.items()}
    for name in rng.sample(sorted(entry), rng.randint(1, 3)):
        match rng.randrange(4):
            case 0:
                entry[name] = rng.choice(ODD)
            case 1:
                del entry[name]
            case 2:
                entry[name] = entry[rng.choice(sorted(entry))]
            case _:
                at = rng.randrange(len(entry[name]) + 1)
                entry[name] = entry[name][:at] + bytes([rng.randrange(256)]) + entry[name][at:]
    return entry


def test_a_new_position_gets_its_stop_after_anything(s6: Running) -> None:
    rng = random.Random(20_260_101)
    symbol, raw = s6.symbol(), connect(s6.s6.env["S6_REDIS_URL"], decode_responses=False)
    tick = {"ts": now_ms(), "mark": "40000", "bid": "39999", "ask": "40001"}
    features = {"ts": now_ms(), "atr": "0", "regime": "NORMAL", "signal": "LONG", "signal_id": "f-1"}
    for number in range(ROUNDS):
        entry = result(symbol, f"fuzz{number}-{symbol}", kind=rng.choice(("EXIT", "SL", "TP", "ADD")), side="SELL")
        raw.xadd(f"ord:result:{symbol}", mutated(rng, entry))  # type: ignore[arg-type]
        raw.xadd(f"mkt:{symbol}", mutated(rng, tick))  # type: ignore[arg-type]
        raw.xadd(f"feat:events:{symbol}", mutated(rng, features))  # type: ignore[arg-type]
        if not number % 20:
            raw.publish("cfg:events", rng.choice(ODD))
            raw.set(f"prod:health:{rng.choice(('s2', 's3', 's11'))}", rng.choice(ODD))
    for service in ("s2", "s3", "s11"):
        raw.delete(f"prod:health:{service}")
    s6.paper.tick(symbol, 40_000)
    pid = s6.enter(symbol)
    s6.protected(pid)
    wait_for(lambda: s6.redis.xpending(f"ord:result:{symbol}", "s6")["pending"] == 0, 60, "everything dealt with")
    later = s6.enter(symbol)
    s6.protected(later)
    letters = [a for a in s6.alerts("DEADLETTER") if a["detail"].startswith(f"ord:result:{symbol}")]
    assert len(letters) <= 2  # one a minute
