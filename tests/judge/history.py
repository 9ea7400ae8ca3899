"""A ledger read back: lives of positions, orders with their live spans, requests. What the judge looks at."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from s6.model.jsonx import loads
from s6.paper.domain import ZERO, SymbolSpec

Record = Mapping[str, object]


@dataclass(slots=True)
class OrderTrace:
    """One order of the ledger; live from record `born` until record `gone` (None: to the end)."""

    client_order_id: str
    intent_id: str
    position_id: str
    kind: str
    side: str
    type: str
    qty: Decimal
    stop_px: Decimal | None
    life: int
    born: int
    born_ts: int
    filled: Decimal = ZERO
    status: str = "NEW"
    gone: int | None = None
    gone_ts: int | None = None
    states: list[tuple[int, Decimal]] = field(default_factory=list)

    def live_at(self, n: int) -> bool:
        """Whether it is live just after record `n`."""
        return self.born <= n and (self.gone is None or n < self.gone)

    def remaining_at(self, n: int) -> Decimal:
        """What it may still fill just after record `n`."""
        if not self.live_at(n):
            return ZERO
        return self.qty - next(filled for at, filled in reversed(self.states) if at <= n)


@dataclass(frozen=True, slots=True)
class Held:
    """What a position holds from record `n` on."""

    n: int
    ts: int
    life: int
    qty: Decimal
    entry: Decimal


@dataclass(slots=True)
class PositionTrace:
    """One position: its quantities over time, its orders and fills in the order in which they came."""

    position_id: str
    symbol: str = ""
    market: str = ""
    held: list[Held] = field(default_factory=list)
    sides: dict[int, str] = field(default_factory=dict)
    orders: list[OrderTrace] = field(default_factory=list)
    fills: list[Record] = field(default_factory=list)

    def at(self, n: int) -> Held | None:
        """What was held just after record `n`."""
        return next((held for held in reversed(self.held) if held.n <= n), None)

    def whole(self, life: int) -> bool:
        """Whether the ledger saw this life begin (a restarted house goes on with lives that another ledger began)."""
        first = next((held for held in self.held if held.life == life), None)
        entry = next((fill for fill in self.fills if fill["life"] == life), None)
        return (
            first is not None and entry is not None and entry["kind"] == "ENTRY" and number(entry["qty"]) == first.qty
        )

    def most_held(self, n: int, since_ts: int) -> Decimal:
        """The largest quantity held between `since_ts` and record `n`."""
        before = [held.qty for held in self.held if held.n <= n and held.ts >= since_ts]
        earlier = [held.qty for held in self.held if held.n <= n and held.ts < since_ts]
        return max([*before, *earlier[-1:], ZERO])


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Something that went wrong from `ts` until `until` (ms) without S6's doing; no `position_id`: for everybody."""

    ts: int
    until: int
    position_id: str | None
    text: str


@dataclass(slots=True)
class History:
    """Everything of a ledger, by position; `ends` is the time stamp of its last record."""

    positions: dict[str, PositionTrace]
    requests: list[Record]
    answers: dict[int, Record]
    features: list[Record]
    bundles: list[tuple[int, Mapping[str, object]]]
    specs: dict[str, SymbolSpec]
    disturbances: list[Disturbance]
    ends: int


def read_ledger(path: Path) -> list[Record]:
    """The records of a ledger file; a torn last line (the writer was killed) is left out."""
    records: list[Record] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: not a record")
        records.append(record)
    return records


def rebuild(records: Iterable[Record]) -> History:
    """Read records, oldest first, into a history."""
    positions: dict[str, PositionTrace] = {}
    orders: dict[str, OrderTrace] = {}
    history = History(positions, [], {}, [], [], {}, [], 0)
    for record in records:
        what = record["what"]
        history.ends = max(history.ends, integer(record["ts"]))
        if what == "order":
            _take_order(record, positions, orders)
        elif what == "fill":
            _position(positions, record).fills.append(record)
        elif what == "position":
            _take_position(record, positions)
        elif what == "request":
            history.requests.append(record)
        elif what == "answer":
            history.answers[integer(record["request"])] = record
        elif what == "feature":
            history.features.append(record)
        elif what == "symbol":
            history.specs[str(record["symbol"])] = _spec(record)
        elif what == "bundle":
            _take_bundle(record, history)
        elif disturbance := _disturbance(record):
            history.disturbances.append(disturbance)
    for request in history.requests:
        if disturbance := _broken(request, history.answers.get(integer(request["n"]))):
            history.disturbances.append(disturbance)
    return history


def refusals(history: History) -> dict[str, list[tuple[int, str]]]:
    """What S4 answered with other than 200 or 202, by position: time and words."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for request in history.requests:
        answer, position_id = history.answers.get(integer(request["n"])), _position_id(request)
        if answer and position_id and answer["delivered"] and answer["status"] not in {200, 202}:
            words = f"{request['route']} answered {answer['status']} {answer['body']}"
            found[position_id].append((integer(answer["ts"]), words))
    return found


def number(value: object) -> Decimal:
    """A ledger's number, whether read from memory or from JSON."""
    if isinstance(value, (int, Decimal)):
        return Decimal(value)
    return Decimal(str(value))


def integer(value: object) -> int:
    """A ledger's whole number."""
    return int(number(value))


def _position(positions: dict[str, PositionTrace], record: Record) -> PositionTrace:
    position_id = str(record["position_id"])
    trace = positions.setdefault(position_id, PositionTrace(position_id))
    trace.symbol, trace.market = str(record["symbol"]), str(record["market"])
    return trace


def _take_order(record: Record, positions: dict[str, PositionTrace], orders: dict[str, OrderTrace]) -> None:
    trace = _position(positions, record)
    client_order_id, n, ts = str(record["client_order_id"]), integer(record["n"]), integer(record["ts"])
    order = orders.get(client_order_id)
    if order is None:
        stop_px = None if record["stopPx"] is None else number(record["stopPx"])
        order = OrderTrace(
            client_order_id=client_order_id,
            intent_id=str(record["intent_id"]),
            position_id=trace.position_id,
            kind=str(record["kind"]),
            side=str(record["side"]),
            type=str(record["type"]),
            qty=number(record["qty"]),
            stop_px=stop_px,
            life=integer(record["life"]),
            born=n,
            born_ts=ts,
        )
        orders[client_order_id] = order
        trace.orders.append(order)
    order.filled, order.status = number(record["filled_qty"]), str(record["status"])
    order.states.append((n, order.filled))
    if not record["live"] and order.gone is None:
        order.gone, order.gone_ts = n, ts


def _take_position(record: Record, positions: dict[str, PositionTrace]) -> None:
    trace = _position(positions, record)
    n, ts, life = (integer(record[name]) for name in ("n", "ts", "life"))
    trace.held.append(Held(n, ts, life, number(record["qty"]), number(record["entry"])))
    trace.sides[life] = str(record["side"])


def _take_bundle(record: Record, history: History) -> None:
    try:
        bundle = loads(str(record["text"]))
    except ValueError:
        return
    if isinstance(bundle, dict):
        history.bundles.append((integer(record["n"]), bundle))


def _spec(record: Record) -> SymbolSpec:
    return SymbolSpec(*(number(record[name]) for name in ("tick", "step", "min_qty", "min_notional", "mmr")))


def _disturbance(record: Record) -> Disturbance | None:
    what, ts = record["what"], integer(record["ts"])
    if what == "note":
        return Disturbance(ts, ts + integer(record["lasts_ms"]), None, str(record["text"]))
    if what == "cancel" and record["outcome"] != "CANCELED":
        words = f"cancel of {record['client_order_id']}: {record['outcome']}"
        return Disturbance(ts, ts, str(record["position_id"]), words)
    fields = record.get("fields")
    if what == "result" and record["fault"] and isinstance(fields, Mapping):
        words = f"result {fields['client_order_id']} {fields['status']}: {record['fault']}"
        return Disturbance(ts, ts + integer(record["delay_ms"]), str(fields["position_id"]), words)
    return None


def _broken(request: Record, answer: Record | None) -> Disturbance | None:
    """A request that the neighbour did not answer as it should have; one about no position concerns nobody's stop."""
    position_id = _position_id(request)
    if position_id is None or (answer is not None and not answer["fault"]):
        return None
    ts, words = integer(request["ts"]), f"{request['route']}: {answer['fault'] if answer else 'no answer'}"
    return Disturbance(ts, integer(answer["ts"]) if answer else ts, position_id, words)


def _position_id(request: Record) -> str | None:
    body = request.get("body")
    found = body.get("position_id") if isinstance(body, Mapping) else None
    return found if isinstance(found, str) else None
