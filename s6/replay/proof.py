"""The proof of `--check`: the fold of the snapshots equals the live state in Redis.

A position changes while it is read. So the proof reads the live state first, then the snapshots that wait in Redis,
then the store: every snapshot behind the live state is then in one of the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final

from redis.exceptions import RedisError

from s6 import keys
from s6.adapters.clock import SystemClock
from s6.adapters.redis_client import RedisClient
from s6.adapters.redis_state import RedisState
from s6.model.commit import Loaded
from s6.model.position import Position, rungs_json
from s6.ports import StateUnavailable
from s6.replay.fold import Doc, Step, differences, fold

NOT_SNAPSHOTTED: Final = frozenset(
    {
        "rev",
        "ts",
        "mark",
        "unrealized_pnl_usdt",
        "roe",
        "best_mark",
        "best_roe",
        "best_ts",
        "stagnated",
        "breach_ts",
        "sl_level",
        "ladder",
        "bundle_version",
        "orders",
        "sl_order",
        "sl_qty",
        "op_count",
        "cause",
        "rebuilt_ts",
    }
)
"""The fields that S6 also writes between snapshots: the market's figures and watermarks, the steps of an operation, and
the time when a loss of Redis made S6 restore a closed position."""

ATTEMPTS: Final = 50
OUTBOX_READ: Final = 100_000
FAULTS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Live:
    """A position in Redis, from one consistent read: its state and operation, the hashes beside them, and the snapshots
    that have not reached the store."""

    loaded: Loaded
    stop: Mapping[str, str]
    ladder: Mapping[str, str]
    adds: Mapping[str, str]
    waiting: tuple[Doc, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof holds if ``faults`` is empty. ``later_commits`` counts the commits since the last snapshot."""

    steps: int
    fills: int
    seq: int
    rev: int
    later_commits: int
    waiting: int
    faults: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.faults


def read_live(redis: RedisClient, position_id: str) -> Live | None:
    """Return the position in Redis, or None if Redis has none. Raises ``StateUnavailable``."""
    state = RedisState(redis, SystemClock())
    try:
        for _ in range(ATTEMPTS):
            before = state.load(position_id)
            if before is None:
                return None
            rows: list[Any] = [redis.hgetall(key(position_id)) for key in (keys.stop, keys.ladder, keys.adds)]
            waiting = tuple(state.outbox_peek(position_id, OUTBOX_READ))
            if state.load(position_id) == before:
                stop, ladder, adds = rows
                return Live(before, stop, ladder, adds, waiting)
    except RedisError as error:
        raise StateUnavailable(f"Redis: {error}") from error
    raise StateUnavailable(f"{position_id} changes faster than it can be read")


def prove(docs: Iterable[Doc], live: Live | None) -> Proof:
    """Fold ``docs`` (the store's, in order) and the waiting snapshots, and compare them with the live state.

    Raises ``UnreadableSnapshot``.
    """
    steps = fills = seq = 0
    faults: list[str] = []
    at: Step | None = None
    target = live.loaded.position.seq if live else 0
    for step in fold(_joined(docs, live.waiting if live else ())):
        steps, seq, fills = steps + 1, step.seq, fills + (step.fill is not None)
        faults += step.faults if len(faults) < FAULTS_SHOWN else ()
        if step.seq == target:
            at = step
    if live is None:
        faults.append("Redis has no live state of it (pos:state)")
        return Proof(steps, fills, seq, 0, 0, 0, tuple(faults))
    p = live.loaded.position
    if at is None:
        faults.append(f"the live state is at seq {target}, the snapshots end at seq {seq}")
    else:
        faults += _against(at, live)
    faults += _beside(live)
    later_commits = max(p.rev - at.position.rev, 0) if at else 0
    return Proof(steps, fills, target, p.rev, later_commits, len(live.waiting), tuple(faults))


def _joined(stored: Iterable[Doc], waiting: Iterable[Doc]) -> Iterator[Doc]:
    """Yield the store's snapshots and those on their way to it, each once."""
    last = 0
    for doc in stored:
        last = int(doc["seq"])
        yield doc
    for doc in sorted(waiting, key=lambda doc: int(doc["seq"])):
        if int(doc["seq"]) > last:
            yield doc


def _against(step: Step, live: Live) -> list[str]:
    """Compare the last snapshot with the live state: all fields if nothing was written since, else what is held."""
    p, op = live.loaded
    then = step.position
    unmoved = (p.rev, p.ts, p.op_count) == (then.rev, then.ts, then.op_count)
    names = [field.name for field in fields(Position) if unmoved or field.name not in NOT_SNAPSHOTTED]
    found = differences(step.position, p, names, f"of snapshot {step.seq}")
    if unmoved and op != step.op:
        found.append(f"the operation in flight is {_op(op)}, not {_op(step.op)} of snapshot {step.seq}")
    return [f"live state: {fault}" for fault in found]


def _op(op: object) -> str:
    return "none" if op is None else f"{getattr(op, 'kind', '')} {getattr(op, 'op_id', '')} {getattr(op, 'stage', '')}"


def _beside(live: Live) -> list[str]:
    """Compare the hashes that other services read with the live state."""
    p = live.loaded.position
    checks: list[tuple[str, object, object]] = [
        ("pos:adds count", live.adds.get("count"), str(p.add_on_count)),
        ("pos:adds qty", _number(live.adds.get("qty")), p.added_qty),
        ("pos:tp:ladder done", live.ladder.get("done"), rungs_json(p.tp_done)),
    ]
    if live.stop:
        checks += [
            ("pos:sl:level price", _number(live.stop.get("price")), p.sl_price),
            ("pos:sl:level k", live.stop.get("k"), str(p.sl_level)),
            ("pos:sl:level client_order_id", live.stop.get("client_order_id"), p.sl_order),
        ]
    elif p.sl_order:
        checks.append(("pos:sl:level client_order_id", None, p.sl_order))
    return [f"{name} is {found}, not {wanted} as in pos:state" for name, found, wanted in checks if found != wanted]


def _number(text: str | None) -> Decimal | None:
    return Decimal(text) if text else None
