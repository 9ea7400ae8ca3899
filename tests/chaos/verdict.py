"""Every invariant of the contract's §9, checked from the paper's ledger, the events, the store and what Redis holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from s6.model.codec import from_fields
from s6.model.position import Position
from s6.replay.fold import fold
from s6.store import Store
from tests.judge.history import Record, rebuild
from tests.judge.judge import Bounds, exposure, judge

D: Final = Decimal
EVENT_OF: Final = {"ENTRY": "ENTRY", "ADD": "ADD", "TP": "TP_PARTIAL", "REDUCE": "RISK_DOWNGRADE"}
SAME: Final = ("qty", "entry_price_avg", "realized_pnl_usdt", "isolated_margin_usdt", "status", "sl_price", "sl_order")
#: What must be mended may take as long as the dead process's successor, or S4's silence, makes it take.
#: A stop that is too large closes nothing too much (it is reduceOnly), so it may wait behind those that are missing.
BOUNDS: Final = Bounds(gap=4_000, disturbed=15_000, resize=20_000, race=20_000, leftover=20_000)

Events = dict[str, list[dict[str, str]]]


def verdict(
    records: list[Record], redis: Any, store: Store, bounds: Bounds = BOUNDS, *, streams: bool = True
) -> list[str]:
    """Everything that is not as it must be, in words; S6 and the market must stand still.

    ``streams`` False: Redis was emptied, so that events and alerts told before are gone.
    """
    faults = [f"{v.kind} {v.position_id} at {v.ts}: {v.detail}" for v in judge(records, bounds)]
    events = _events(redis)
    history = rebuild(records)
    fills = _by_position(records, "fill")
    for name, trace in history.positions.items():
        if not trace.held:  # its entry was refused
            continue
        state = redis.hgetall(f"pos:state:{{{name}}}")
        if not state:
            faults.append(f"{name}: not known to S6")
            continue
        position = from_fields(Position, state)
        about = [
            *_state(position, trace.held[-1].qty, trace.held[-1].life, fills[name]),
            *_stops(position, [o for o in trace.orders if o.gone is None]),
            *(_told(events.get(name, []), trace.orders, fills[name], position) if streams else ()),
            *_snapshots(position, store),
        ]
        faults += [f"{name}: {fault}" for fault in about]
    return [*faults, *_quotas(records, redis), *_alerts(redis, store)]


def _by_position(records: list[Record], what: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["what"] == what:
            found[str(record["position_id"])].append(record)
    return found


def _events(redis: Any) -> Events:
    """By position, each ``event_id`` once: a repetition after a crash must be the same event."""
    seen: dict[str, dict[str, str]] = {}
    found: Events = defaultdict(list)
    for stream in redis.scan_iter("pos:events:*", count=5000):
        for _, event in redis.xrange(stream):
            if event["event_id"] not in seen:
                seen[event["event_id"]] = event
                found[event["position_id"]].append(event)
            assert seen[event["event_id"]] == event, f"two events under one id: {event}"
    return found


def _state(p: Position, qty: Decimal, life: int, fills: list[Record]) -> Iterator[str]:
    if p.qty != qty or p.life != life or p.is_open != bool(qty):
        yield f"{p.qty} of life {p.life} ({p.status}), the exchange has {qty} of life {life}"
    mine = [f for f in fills if f["life"] == life]
    for name, kind in (("q0", "ENTRY"), ("added_qty", "ADD")):
        due = _sum(mine, kind)
        if getattr(p, name) != due:
            yield f"{name} is {getattr(p, name)}, filled were {due}"


def _stops(p: Position, live: list[Any]) -> Iterator[str]:
    names = sorted(order.client_order_id for order in live)
    if not p.is_open or p.market == "SPOT" or p.self_guarded:
        due: list[str] = []
    else:
        due = [p.sl_order]
        left = p.live_stop.remaining if p.live_stop is not None else p.sl_qty  # one that has filled in part stays
        if left != p.qty:
            yield f"stop for {left} of {p.qty}"
    if names != due:
        yield f"live at S4: {names}, by S6's word: {due}"


def _told(events: list[dict[str, str]], orders: list[Any], fills: list[Record], p: Position) -> Iterator[str]:
    """Fill by fill and stop by stop: nothing missing, nothing twice."""
    for kind, name in EVENT_OF.items():
        told = sum((D(e["qty"]) for e in events if e["type"] == name), D(0))
        if told != _sum(fills, kind):
            yield f"{name} events tell of {told}, filled were {_sum(fills, kind)}"
    lives = {int(str(f["life"])) for f in fills}
    exits = sum(e["type"] == "EXIT" for e in events)
    closes = len(lives) - p.is_open
    if exits != closes:
        yield f"{exits} EXIT events for {closes} closes"
    placed = Counter(o.client_order_id for o in orders if o.kind == "SL" and o.status != "REJECTED")
    moved = Counter(e["event_id"].rpartition(".")[2] for e in events if e["type"] == "STOP_MOVE")
    moved = Counter({name: count for name, count in moved.items() if not name.startswith("guard-")})
    if missing := placed - moved:
        yield f"stops that no event tells of: {sorted(missing)}"
    if extra := moved - placed - Counter(o.client_order_id for o in orders if o.status == "REJECTED"):
        yield f"events of stops that never were: {sorted(extra)}"


def _sum(fills: list[Record], kind: str) -> Decimal:
    return sum((D(str(f["qty"])) for f in fills if f["kind"] == kind), D(0))


def _snapshots(p: Position, store: Store) -> Iterator[str]:
    """``seq`` without gaps, each following from those before, and the last one what Redis holds."""
    steps = list(fold(_documents(p.position_id, store)))
    for step in steps:
        yield from step.faults
    if not steps or steps[-1].seq > p.seq:
        yield f"{len(steps)} snapshots, but seq {p.seq} in Redis"
        return
    if steps[-1].seq != p.seq:
        yield f"the last snapshot is {steps[-1].seq}, Redis stands at {p.seq}"
    for name in SAME:
        last, live = getattr(steps[-1].position, name), getattr(p, name)
        if last != live:
            yield f"{name} is {live} in Redis, {last} in the last snapshot"


def _documents(position_id: str, store: Store) -> Iterator[Mapping[str, Any]]:
    cursor: str | None = None
    while True:
        page = store.snapshots(position_id=position_id, limit=500, cursor=cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _quotas(records: list[Record], redis: Any) -> Iterator[str]:
    for market, (count, margin) in exposure(records).items():
        for name, due in (("concurrency", D(count)), ("budget", margin)):
            there = D(redis.get(f"risk:{name}:{market}") or "0")
            if there != due:
                yield f"risk:{name}:{market} is {there}, not {due}"


def _alerts(redis: Any, store: Store) -> Iterator[str]:
    raised = [fields for _, fields in redis.xrange("s6:alerts")]
    kept: set[str] = set()
    cursor: str | None = None
    while True:
        page = store.alerts(limit=500, cursor=cursor)
        kept |= {str(doc["alert_id"]) for doc in page.items}
        cursor = page.next_cursor
        if cursor is None:
            break
    for alert in raised:
        if alert["alert_id"] not in kept and redis.zscore("{s6:alerts}:out", alert["alert_id"]) is None:
            yield f"alert {alert['alert_id']} {alert['code']} is not in the store"
        if alert["code"] in ("OVERSELL", "DEADLETTER", "POISON_RESULT"):
            yield f"alert {alert['code']}: {alert['detail']}"
